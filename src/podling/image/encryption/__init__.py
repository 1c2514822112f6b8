"""Encrypted layers as containers/ocicrypt has them: AES-256 in counter mode with an HMAC, the key wrapped for each recipient by JWE.

    jwe        a small secret for some recipients, in JSON
    keys       the key files that --encryption-key and --decryption-key name
    layers     a layer's bytes encrypted, decrypted, and the annotations that tell how
"""
