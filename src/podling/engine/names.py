"""Names for containers that were given none, and ids."""

from __future__ import annotations

import os

from podling.errors import InvalidArgument

LEFT = """able agile amber ample ardent bold brave breezy bright brisk calm candid careful cheerful clear clever cosy crisp
curious dapper daring deft eager early earnest easy elated epic fair fearless festive fine fond frank fresh friendly gentle
giddy glad golden good grand great happy hardy hearty honest hopeful humble jolly jovial keen kind lasting light lively loyal
lucid lucky mellow merry mild modest neat nimble noble patient placid plucky polite prime proud quick quiet rapid ready robust
rosy serene sharp shiny silent simple sincere smart smooth snug solid sound spry steady stoic sturdy sunny sure swift tender
tidy trusty upbeat valiant vivid warm wise witty zealous zesty""".split()  # noqa: SIM905

RIGHT = """abel ampere archimedes avogadro babbage banach bell bernoulli bohr boltzmann boole born brahe carson cauchy cavendish
celsius chandrasekhar clarke copernicus coulomb curie dalton darwin descartes diffie dijkstra dirac eddington edison einstein
elion engelbart erdos euclid euler fahrenheit faraday fermat fermi feynman fibonacci fourier franklin galileo galois gauss
goodall goldberg hamilton hawking heisenberg hellman hermite herschel hertz hilbert hodgkin hopper hubble huygens hypatia
jackson jacobi johnson joliot joule kapitsa kelvin kepler knuth kowalevski lagrange lamarr lamport laplace lavoisier leavitt
legendre leibniz linnaeus liskov lorentz lovelace mach maxwell mayer mccarthy meitner mendel mendeleev mirzakhani morse napier
nash newton nobel noether ohm pascal pasteur pauli payne perlman planck poincare ptolemy pythagoras ramanujan ride riemann
ritchie rutherford sagan shannon sinoussi somerville stallman tesla thompson torvalds turing volta wescoff wilson wing wozniak
wright wu yalow yonath""".split()  # noqa: SIM905


def random_id() -> str:
    """64 hexadecimal digits."""
    return os.urandom(32).hex()


def random_name() -> str:
    """A name like ``brave_curie``; the caller tries again while it is taken."""
    number = int.from_bytes(os.urandom(4), "big")
    return f"{LEFT[number % len(LEFT)]}_{RIGHT[number // len(LEFT) % len(RIGHT)]}"


def check_name(text: str) -> str:
    """The name without a leading slash; InvalidArgument unless it has the form [a-zA-Z0-9][a-zA-Z0-9_.-]*."""
    name = text.lstrip("/")
    if name and name.isascii() and name[0].isalnum() and all(c.isalnum() or c in "_.-" for c in name):
        return name
    raise InvalidArgument(f"names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument: {text}")
