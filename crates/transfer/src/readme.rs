//! The text on the medium for somebody who has nothing but stock tools.

use crate::header::Suite;

/// Always the same bytes for a suite, so that it gives nothing away and can be made again.
#[must_use]
pub const fn text(suite: Suite) -> &'static str {
    match suite {
        Suite::Sealed => SEALED,
        Suite::Inspectable => INSPECTABLE,
    }
}

const SEALED: &str = "\
This folder is a Cofferdam transfer, format CT1, suite sealed-1 (encrypted).

Normal use:   cofferdam verify THIS-FOLDER --key SENDERS-KEY
              cofferdam receive THIS-FOLDER            at the receiving site

Without Cofferdam, with sha256sum, jq, base64, cat, head, tail, age and zstd:

1. What was signed:    jq -r .payload header.dsse.json | base64 -d | jq .predicate
   It lists every file with its size and SHA-256; compare with:  sha256sum *
   The signatures are Ed25519 over: DSSEv1 LEN TYPE LEN PAYLOAD  (the DSSE encoding).
2. What is inside, with the receiving site's key file KEY (keys/site.age there):
     age -d -i KEY manifest.jsonl.zst.age | zstd -dc > manifest.jsonl
   One JSON value a line. A line of kind \"artifact\" says which package or file needs which
   blobs (SHA-256). Lines of kind \"pack\" give offset and len of one pack in the payload;
   the payload is all volumes one after the other:  cat v*.ctv
   The \"blob\" lines after a pack name, in order, the blobs in it, with SHA-256 and size.
   Several \"pack\" lines before one \"blob\" line are one large blob.
3. One pack, from offset O with length N:
     cat v*.ctv | tail -c +$((O+1)) | head -c N | age -d -i KEY | zstd -dc > raw
   raw holds its blobs one after the other; cut it at their sizes:
     tail -c +$((START+1)) raw | head -c SIZE > blob ; sha256sum blob
4. A line of kind \"recipe\" means a blob that is rebuilt from one the site held already;
   docs/spec/transfer-v1.md in Cofferdam's source says how. A transfer packed with --full has none.

checks.ctk and p*.ctp find and repair damage (cofferdam repair); nothing else needs them.
";

const INSPECTABLE: &str = "\
This folder is a Cofferdam transfer, format CT1, suite inspectable-1 (not encrypted).

Every item is a file of its own in the folder files/, with its real name, for any scanner to
open. A station may remove a file that it does not let through; it must not change one.

Normal use:   cofferdam verify THIS-FOLDER --key SENDERS-KEY
              cofferdam receive THIS-FOLDER            at the receiving site

Without Cofferdam, with sha256sum, jq and base64:

1. What was signed:    jq -r .payload header.dsse.json | base64 -d | jq .predicate
   The signatures are Ed25519 over: DSSEv1 LEN TYPE LEN PAYLOAD  (the DSSE encoding).
   manifest.plainSha256 is the SHA-256 of manifest.jsonl.
2. What is inside:     manifest.jsonl, one JSON value a line.
   A line of kind \"file\" gives name, SHA-256 and size of one file. Check all of them:
     jq -r 'select(.kind==\"file\") | .sha256 + \"  files/\" + .name' manifest.jsonl | sha256sum -c
   A line of kind \"artifact\" says which package needs which blobs (SHA-256).
";
