"""The file of ``push --sign-by-sigstore``."""

from __future__ import annotations

import pytest

from podling.config import sigstore
from podling.config.sigstore import SigstoreParameters
from podling.errors import Corrupt, Unsupported


def test_what_the_file_says(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("privateKeyFile: /k\nprivateKeyPassphraseFile: /p\nrekorURL: https://log\n")
    assert sigstore.load(str(path)) == SigstoreParameters(key_file="/k", passphrase_file="/p", rekor_url="https://log")
    found = sigstore.parse(b"fulcio: {fulcioURL: 'https://f', oidcMode: staticToken, oidcIDToken: t}\nrekorURL: https://log", "/p")
    assert found == SigstoreParameters(fulcio_url="https://f", token="t", rekor_url="https://log")


@pytest.mark.parametrize("text", [
    "", "[]", "{}", "privateKeyFile: ''", "privateKeyFile: 1", "privateKeyFile: /k\nmore: x", "privateKeyFile: /k\nprivateKeyFile: /l",
    "privateKeyFile: /k\nfulcio: {fulcioURL: 'https://f', oidcMode: staticToken, oidcIDToken: t}", "fulcio: x\nrekorURL: r",
    "fulcio: {fulcioURL: 'https://f', oidcMode: staticToken, oidcIDToken: t}", "fulcio: {oidcMode: guess}\nrekorURL: r",
    "fulcio: {oidcMode: staticToken, oidcIDToken: t}\nrekorURL: r", "fulcio: {fulcioURL: f, oidcMode: staticToken}\nrekorURL: r",
])
def test_mistakes_are_told_with_the_path(text):
    with pytest.raises(Corrupt, match="sigstore parameters /p: "):
        sigstore.parse(text.encode(), "/p")


@pytest.mark.parametrize("mode", ["interactive", "deviceFlow"])
def test_modes_that_need_a_browser(mode):
    with pytest.raises(Unsupported, match=f"the oidcMode {mode} is not available yet"):
        sigstore.parse(f"fulcio: {{fulcioURL: 'https://f', oidcMode: {mode}}}\nrekorURL: r".encode(), "/p")
