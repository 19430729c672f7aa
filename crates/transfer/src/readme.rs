//! The text on the medium for somebody who has nothing but stock tools.

/// Always the same bytes, so that it gives nothing away and can be compared.
pub const README_TEXT: &str = "\
This folder is a Cofferdam transfer, format CT1, suite clear-1 (not encrypted).

Normal use:   cofferdam verify THIS-FOLDER --key SENDERS-KEY --for YOUR-SITE
Without Cofferdam, with head, tail, od, base64, jq, sha256sum and zstd:

1. What was signed:   jq -r .payload header.dsse.json | base64 -d
   It lists every file with its size and SHA-256; compare with: sha256sum *
   The signatures are Ed25519 over: DSSEv1 LEN TYPE LEN PAYLOAD  (the DSSE encoding).
2. What is inside:    zstd -dc manifest.jsonl.zst
   One JSON value a line. A line of kind \"blob\" names the SHA-256 and size of one stored
   file and its frames, in order: pack (2 means p000002.ctp), offset, len.
3. One frame: bytes offset .. offset+len of that pack. Its first 44 bytes are
     1 byte codec (0 = as it is, 1 = zstd), 3 zero bytes, 4 bytes raw length,
     4 bytes stored length (both little-endian), 32 bytes SHA-256 of the raw data.
   After them come the stored bytes. With O=offset+45 and N=len-44:
     tail -c +$O p000002.ctp | head -c $N            for codec 0
     tail -c +$O p000002.ctp | head -c $N | zstd -dc for codec 1
   (od -An -tu1 -j OFFSET -N 1 p000002.ctp  shows the codec)
4. Append the frames of a blob in order and compare the result with its SHA-256.
   A line of kind \"artifact\" says which package or file the blob belongs to.
";
