"""Keys and signature places for tests in a world: gpg homes, registries.d, policy.json, a web server for signatures.

GPG's homes are short paths on the world's /run, because sockets of its agent stand there.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

if TYPE_CHECKING:
    from tests.support.sandbox import World

_PARAMETERS = """\
Key-Type: RSA
Key-Length: 2048
Name-Real: Tester
Name-Email: {mail}
Expire-Date: {expires}
{protection}
%commit
"""


class GpgHome:
    """A gpg home in the world with one key."""

    def __init__(self, world: World, name: str, *, mail: str = "dev@example.org", expires: str = "0", passphrase: str = "") -> None:
        self.world = world
        self.path = f"/run/{name}"
        self.mail = mail
        self.env = {"GNUPGHOME": self.path}
        world.path(self.path).mkdir(mode=0o700)
        protection = f"Passphrase: {passphrase}" if passphrase else "%no-protection"
        world.run("gpg", "--batch", "--full-gen-key", env=self.env,
                  stdin=_PARAMETERS.format(mail=mail, expires=expires, protection=protection).encode())
        self.public = f"/run/{name}.gpg"
        self.export()

    def export(self) -> None:
        """Write the public key to ``public`` as it is now."""
        self.gpg("--yes", "--armor", "--output", self.public, "--export", self.mail)

    def gpg(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run gpg in this home."""
        return self.world.run("gpg", "--batch", *arguments, env=self.env, stdin=stdin, check=check)

    @property
    def fingerprint(self) -> str:
        """The key's."""
        return next(line.split(":")[9] for line in self.gpg("--with-colons", "--list-keys").stdout.splitlines() if line.startswith("fpr"))

    def sign(self, content: bytes, *options: str) -> bytes:
        """An OpenPGP message with this content."""
        done = self.world.spawn("gpg", "--batch", *options, "--output", "-", "--sign", env=self.env, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = done.communicate(content, 30)
        assert done.returncode == 0, errors
        return output


def world_registry(world: World, *, port: int = 5000) -> subprocess.Popen[bytes]:
    """A docker-registry on ``localhost:PORT`` of the world; the caller ends it."""
    config = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": f"/run/registry-{port}"}, "delete": {"enabled": True}},
              "log": {"level": "warn", "accesslog": {"disabled": False}}, "http": {"addr": f"127.0.0.1:{port}"}}
    world.path(f"/run/registry-{port}.yml").write_text(json.dumps(config))
    log = world.path(f"/run/registry-{port}.log").open("ab")
    process = world.spawn("docker-registry", "serve", f"/run/registry-{port}.yml", stdout=log, stderr=log)
    log.close()
    world.wait_until(lambda: world.run("curl", "-sf", f"http://localhost:{port}/v2/", check=False).returncode == 0,
                     "docker-registry listens", 20)
    return process


def web_server(world: World, directory: str, *, port: int = 8000) -> subprocess.Popen[bytes]:
    """``python3 -m http.server`` in a directory of the world; its log is ``/run/web-PORT.log``."""
    world.path(directory).mkdir(parents=True, exist_ok=True)
    log = world.path(f"/run/web-{port}.log").open("ab")
    process = world.spawn("/usr/bin/python3", "-m", "http.server", str(port), "--bind", "127.0.0.1", cwd=directory, stdout=log, stderr=log)
    log.close()
    world.wait_until(lambda: world.run("curl", "-s", "-o", "/dev/null", f"http://localhost:{port}/", check=False).returncode == 0,
                     "the web server listens", 20)
    return process


def write_policy(world: World, docker: dict[str, Any] | None = None, *, default: str = "insecureAcceptAnything", **transports: Any) -> None:
    """policy.json of the world."""
    content = {"default": [{"type": default}], "transports": {**({"docker": docker} if docker else {}), **transports}}
    world.path("/etc/containers/policy.json").write_text(json.dumps(content))


def write_registries_d(world: World, text: str) -> None:
    """registries.d of the world, one file."""
    directory = world.path("/etc/containers/registries.d")
    directory.mkdir(exist_ok=True)
    (directory / "default.yaml").write_text(text)


# --- sigstore ---------------------------------------------------------------------------------------------------------


def new_key(kind: str) -> Any:
    """A private key: ecdsa, rsa or ed25519."""
    if kind == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()


def public_pem(key: Any) -> bytes:
    """Its public half."""
    pem: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem


def cosign_pem(key: Any, passphrase: str, *, name: str = "ENCRYPTED SIGSTORE PRIVATE KEY") -> bytes:
    """The key as ``cosign generate-key-pair`` writes it."""
    from hashlib import scrypt

    from nacl.secret import SecretBox

    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    salt, nonce = os.urandom(32), os.urandom(24)
    box = SecretBox(scrypt(passphrase.encode(), salt=salt, n=32768, r=8, p=1, dklen=32, maxmem=128 << 20))
    text = json.dumps({
        "kdf": {"name": "scrypt", "params": {"N": 32768, "r": 8, "p": 1}, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(box.encrypt(der, nonce).ciphertext).decode()})
    encoded = base64.b64encode(text.encode()).decode()
    lines = "\n".join(encoded[at : at + 64] for at in range(0, len(encoded), 64))
    return f"-----BEGIN {name}-----\n{lines}\n-----END {name}-----\n".encode()

