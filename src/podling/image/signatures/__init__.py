"""Signatures of images: simple signing with GPG, and sigstore's in the manner of cosign.

    stored       a signature, and its bytes in files and in the store
    payload      what is signed: the digest of a manifest and the name it is meant for
    identity     whether that name fits the image that is wanted
    gpg          the only place that runs gpg
    keys         sigstore's keys; certificates, rekor: short-lived keys and the log that saw them
    lookaside    signatures beside registries: web servers and directories
    extension    signatures that a registry keeps itself
    attachments  signatures in registries, as images of their own
    services     whom a signer without a key asks
    signing      signatures that a push makes

Which of them an image must carry is decided in ``image.policy``.
"""
