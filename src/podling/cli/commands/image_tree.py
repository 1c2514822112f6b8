"""``podling image tree``."""

from __future__ import annotations

from podling.cli.flags import Command, Flag
from podling.values.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from podling.cli.context import Context


def tree(context: Context, said: dict[str, Any], args: list[str]) -> None:
    """Show an image's layers."""
    from podling.engine.image_tree import tree as layers_of

    image = context.engine.images.resolve(args[0])
    out = context.out
    out.line(f"Image ID: {image.id[:12]}")
    out.line(f"Tags:     [{' '.join(image.names)}]")
    out.line(f"Size:     {_size(image.size)}")
    layers = layers_of(context.engine, image, children=said.get("whatrequires", False))
    out.line("Image Layers" if layers else "No Image Layers")
    for number, layer in enumerate(layers):
        branch = "└──" if number == len(layers) - 1 else "├──"
        names = f" Top Layer of: [{' '.join(layer.names)}]" if layer.names else ""
        out.line(f"{branch} ID: {layer.key[:12]} Size: {_size(layer.size):>7}{names}")
    out.line()


def _size(size: int) -> str:
    return format_size(size, digits=4, separator="")


TREE = Command(
    "tree", "[options] IMAGE", "Prints layer hierarchy of an image in a tree format",
    "Prints layer hierarchy of an image in a tree format",
    (Flag("--whatrequires", help="Show all child images and layers of the specified image", kind="bool"),),
    tree, args=(1, 1, ""), complete="images", examples=("{} alpine:latest",),
)
