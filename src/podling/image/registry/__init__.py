"""Registries, by the OCI distribution protocol. The only package that loads an HTTP client and TLS.

    http1          requests and answers on one connection              -> Channel, Malformed
    tls            TLS with certs.d
    connection     connections kept open, proxies, time-outs           -> Answer, ConnectionFault
    replies        what an answer's status and body mean              -> errors in Podman's words
    authorization  challenges, logins, tokens
    client         Registry: ping, retries, redirects, manifests, tags
    blobs          layers down (with Range) and up (streaming, mounted)
"""
