//! Addresses whose answers never change, by a rule of those who serve them: what was recorded once needs no second
//! question.
//!
//! | address | whose rule |
//! |---|---|
//! | `/v2/<name>/blobs/sha256:…`, `/v2/<name>/manifests/sha256:…` | OCI distribution specification: content is addressed by its digest |
//! | `…/<artifact>/<version>/<artifact>-<version>…` of no snapshot | Maven repository layout: a released version is never deployed again; mvn itself never asks twice |
//! | `…/@v/<canonical version>.info`, `.mod`, `.zip` | Go modules reference, GOPROXY protocol: what a version is once, it stays |
//! | `…/tile/<height>/<level>/<number>` | tiled logs (Go checksum database): a full tile is fixed by the tree |
//! | `…/by-hash/SHA256/<digest>` | Debian repository format: named by its digest |
//! | `…/pool/…/<name>_<version>_<architecture>.deb` | Debian repository format: an archive never reuses a file's name |
//!
//! Pure text work. Must never say so of an address that means "the newest", and is only asked about answers that said
//! 200 and were ever the only ones: whoever broke the rule once is asked each time.

use percent_encoding::percent_decode_str;

use crate::image;

/// Whether the answer of an address with this path and query is one for ever.
pub fn never_changes(path: &str, query: &str) -> bool {
    if !query.is_empty() {
        return false;
    }
    let segments: Vec<String> =
        path.split('/').map(|s| percent_decode_str(s).decode_utf8_lossy().into_owned()).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    image::digest_of(path).is_some()
        || is_maven_release(&segments)
        || is_go_version(&segments)
        || is_full_tile(&segments)
        || is_debian(&segments)
}

/// Maven repository layout: `group/as/folders/artifact/version/artifact-version[-classifier].extension`.
fn is_maven_release(segments: &[&str]) -> bool {
    // A group has at least one folder of its own.
    let [_, .., artifact, version, file] = segments else { return false };
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._+".contains(&b))
    };
    let named = file.strip_prefix(artifact).and_then(|rest| rest.strip_prefix('-')?.strip_prefix(version));
    plain(artifact)
        && plain(version)
        && version.bytes().any(|b| b.is_ascii_digit())
        && !version.to_ascii_uppercase().contains("SNAPSHOT")
        && named.is_some_and(|rest| rest.len() > 1 && rest.starts_with(['-', '.']))
}

/// <https://go.dev/ref/mod#goproxy-protocol>; versions as in its section "Versions".
fn is_go_version(segments: &[&str]) -> bool {
    let [.., module, at, file] = segments else { return false };
    let version = ["info", "mod", "zip"].iter().find_map(|end| file.strip_suffix(end)?.strip_suffix('.'));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let canonical = |version: &str| {
        let Some(rest) = version.strip_prefix('v') else { return false };
        let core = rest.split(['-', '+']).next().unwrap_or_default();
        core.split('.').count() == 3 && core.split('.').all(number)
    };
    !module.is_empty() && *at == "@v" && version.is_some_and(canonical)
}

/// <https://research.swtch.com/tlog>, "Serving tiles"; partial tiles end in `.p/<width>`.
fn is_full_tile(segments: &[&str]) -> bool {
    let Some(at) = segments.iter().position(|s| *s == "tile") else { return false };
    let [height, level, number @ ..] = &segments[at + 1..] else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let part = |text: &&str| digits(text.strip_prefix('x').unwrap_or(text)) && text.len() <= 4;
    digits(height) && (digits(level) || *level == "data") && !number.is_empty() && number.iter().all(part)
}

/// Debian repository format: "by-hash" and "pool".
fn is_debian(segments: &[&str]) -> bool {
    if let [.., by_hash, algorithm, digest] = segments
        && *by_hash == "by-hash"
    {
        let length = match *algorithm {
            "SHA256" => 64,
            "SHA512" => 128,
            _ => return false,
        };
        return digest.len() == length && digest.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let Some(name) = segments.last().and_then(|file| file.strip_suffix(".deb")) else { return false };
    let parts: Vec<&str> = name.split('_').collect();
    segments.contains(&"pool") && parts.len() == 3 && parts.iter().all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn what_is_released_under_a_version_stays() {
        for path in [
            "/maven2/org/example/lib/1.0.2/lib-1.0.2.jar",
            "/maven2/org/example/lib/1.0.2/lib-1.0.2-sources.jar.sha1",
            "/repository/org/example/lib-core/33.4.8-jre/lib-core-33.4.8-jre.pom",
            "/example.com/!group/mod/@v/v1.2.3.zip",
            "/example.com/mod/@v/v0.0.0-20240102030405-abcdef012345.mod",
            "/example.com/mod/v2/@v/v2.0.0+incompatible.info",
            "/sumdb/sum.example/tile/8/0/x123/456",
            "/tile/8/data/000",
            "/debian/pool/main/h/hello/hello_2.10-3_amd64.deb",
            "/debian/pool/main/libs/libs%2b%2b_1%3a2_all.deb",
        ] {
            assert!(never_changes(path, ""), "{path}");
            assert!(!never_changes(path, "v=2"), "{path} with a query");
        }
        assert!(never_changes(&format!("/v2/library/alpine/blobs/sha256:{DIGEST}"), ""));
        assert!(never_changes(&format!("/dists/stable/main/binary-amd64/by-hash/SHA256/{DIGEST}"), ""));
    }

    #[test]
    fn what_means_the_newest_is_asked_for_each_time() {
        for path in [
            "/maven2/org/example/lib/maven-metadata.xml",
            "/maven2/org/example/lib/1.0-SNAPSHOT/lib-1.0-SNAPSHOT.jar",
            "/maven2/org/example/lib/1.0-SNAPSHOT/lib-1.0-20240102.030405-1.jar",
            "/maven2/org/example/lib/1.0-SNAPSHOT/maven-metadata.xml",
            "/maven2/org/example/lib/latest/lib-latest.jar",
            "/o/r/releases/download/v1.0/tool-v1.0.tar.gz",
            "/o/r/releases/latest/download/tool.tar.gz",
            "/lib/1.0/lib-1.0",
            "/example.com/mod/@v/list",
            "/example.com/mod/@latest",
            "/example.com/mod/@v/master.info",
            "/example.com/mod/@v/v1.2.info",
            "/tile/8/0/x123/456.p/7",
            "/sumdb/sum.example/lookup/example.com/mod@v1.2.3",
            "/v2/library/alpine/manifests/3.20",
            "/v2/library/alpine/blobs/sha256:abc",
            "/debian/dists/stable/InRelease",
            "/debian/dists/stable/by-hash/SHA256/",
            "/debian/dists/stable/by-hash/MD5Sum/d41d8cd98f00b204e9800998ecf8427e",
            "/downloads/tool_1.0_amd64.deb",
            "/",
            "",
        ] {
            assert!(!never_changes(path, ""), "{path}");
        }
    }
}
