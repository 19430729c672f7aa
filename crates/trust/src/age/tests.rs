//! What an attacker or a bad medium can do to a sealed file, made with the file's own secrets.

use std::io::{Cursor, Read as _, Write as _};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use proptest::prelude::*;

use super::*;

fn key(n: u8) -> SealingKey {
    SealingKey::from_secret(&[n; 32]).unwrap()
}

/// Entropy that repeats one byte per draw: 1, 2, 3...
fn counting() -> impl Entropy {
    let mut draw = 0;
    move |out: &mut [u8]| {
        draw += 1;
        out.fill(draw);
        Ok(())
    }
}

/// Seals to key 1 with known secrets: file key 1s, ephemeral 2s, nonce 3s.
fn vector(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let sealer = Sealer::new(&[key(1).recipient()]).unwrap();
    sealer.seal_into_with(plain, &mut out, &mut counting()).unwrap();
    out
}

fn code<T>(result: Result<T>) -> &'static str {
    result.err().map_or("none", |e| e.code())
}

/// Opens both ways; they must agree on the verdict and on the bytes.
fn open_both(sealed: &[u8], key: &SealingKey) -> Result<Vec<u8>> {
    let whole = open(sealed, key);
    let mut appended = b"kept".to_vec();
    match (open_into(sealed, key, &mut appended), &whole) {
        (Ok(()), Ok(whole)) => assert_eq!(appended.strip_prefix(b"kept"), Some(whole.as_slice())),
        (result, _) => assert!(result.is_err() && appended == b"kept"),
    }
    let mut streamed = Vec::new();
    let read = OpenReader::new(Cursor::new(sealed), key).and_then(|mut reader| {
        reader.read_to_end(&mut streamed).map_err(|e| from_io("reading", e))?;
        Ok(std::mem::take(&mut streamed))
    });
    match (&whole, &read) {
        (Ok(whole), Ok(read)) => assert_eq!(whole, read),
        (Err(whole), Err(read)) => assert_eq!(whole.code(), read.code(), "{whole} / {read}"),
        _ => panic!("open: {whole:?}, OpenReader: {read:?}"),
    }
    whole
}

/// A file with the given stanza lines, a MAC that holds and the payload of `plain`.
fn forged(stanzas: &str, plain: &[u8]) -> Vec<u8> {
    let covered = format!("age-encryption.org/v1\n{stanzas}---");
    let mac_key = hmac::Key::new(hmac::HMAC_SHA256, &derive(&[1; 16], &[], b"header").unwrap());
    let mac = STANDARD_NO_PAD.encode(hmac::sign(&mac_key, covered.as_bytes()));
    let mut out = format!("{covered} {mac}\n").into_bytes();
    out.extend_from_slice(&[3; 16]);
    payload::payload_key(&[1; 16], &[3; 16]).unwrap().seal_all(plain, &mut out).unwrap();
    out
}

/// The stanza that [`vector`] writes, with its two newlines.
fn stanza() -> String {
    let file = vector(b"");
    let lines: Vec<&[u8]> = file.split(|b| *b == b'\n').collect();
    String::from_utf8([lines[1], b"\n", lines[2], b"\n"].concat()).unwrap()
}

#[test]
fn the_same_secrets_give_the_same_file() {
    let file = vector(b"hello");
    assert_eq!(cofferdam_types::Sha256::of(&file).to_string(), VECTOR_DIGEST);
    assert_eq!(open_both(&file, &key(1)).unwrap(), b"hello");
    assert_eq!(forged(&stanza(), b"hello"), file);
}

const VECTOR_DIGEST: &str = "1da59c306979ed36bf0f0bdcde79f61854369966459afbaa6dace141608bfb7f";

#[test]
fn every_length_comes_back_and_is_as_long_as_was_said() {
    let recipients = [key(1).recipient(), key(2).recipient()];
    let sealer = Sealer::new(&recipients).unwrap();
    for len in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let plain: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        let mut sealed = b"before".to_vec();
        sealer.seal_into(&plain, &mut sealed).unwrap();
        let sealed = sealed.strip_prefix(b"before").unwrap();
        assert_eq!(sealed.len() as u64, sealed_len(len, 2), "{len}");
        for n in [1, 2] {
            assert_eq!(open_both(sealed, &key(n)).unwrap(), plain, "{len}");
        }
        assert_eq!(code(open_both(sealed, &key(3))), "age-no-recipient");

        let mut writer = sealer.writer(Vec::new()).unwrap();
        for piece in plain.chunks(1000) {
            writer.write_all(piece).unwrap();
            writer.flush().unwrap();
        }
        let streamed = writer.finish().unwrap();
        assert_eq!(streamed.len() as u64, sealer.sealed_len(len));
        assert_eq!(open_both(&streamed, &key(2)).unwrap(), plain);
    }
}

#[test]
fn two_files_never_share_a_byte_of_their_secrets() {
    let sealer = Sealer::new(&[key(1).recipient()]).unwrap();
    let (a, b) = (sealer.seal(b"x").unwrap(), sealer.seal(b"x").unwrap());
    assert_ne!(a[32..75], b[32..75], "ephemeral shares");
    assert_ne!(a[a.len() - 33..], b[b.len() - 33..], "nonces and payloads");
}

#[test]
fn every_flipped_bit_of_a_small_file_is_refused() {
    let file = vector(b"hello");
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut wrong = file.clone();
            wrong[at] ^= 1 << bit;
            assert!(open_both(&wrong, &key(1)).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = vector(b"hello");
    for len in 0..file.len() {
        let code = code(open_both(&file[..len], &key(1)));
        let within_chunk = len >= file.len() - 5;
        assert_eq!(code, if within_chunk { "age-damaged" } else { "age-truncated" }, "{len}");
    }
    let long = vector(&vec![7; 3 * CHUNK_LEN]);
    let chunk = CHUNK_LEN + TAG_LEN;
    for (cut, expected) in [
        (chunk, "age-truncated"),
        (2 * chunk, "age-truncated"),
        (3 * chunk, "age-truncated"),
        (1, "age-damaged"),
    ] {
        assert_eq!(code(open_both(&long[..long.len() - cut], &key(1))), expected, "{cut}");
    }
}

#[test]
fn whatever_is_appended_repeated_or_swapped_is_refused() {
    let chunk = CHUNK_LEN + TAG_LEN;
    for len in [5, CHUNK_LEN, 2 * CHUNK_LEN] {
        let file = vector(&vec![7; len]);
        for more in [1, TAG_LEN, chunk] {
            let longer = [file.as_slice(), &vec![0; more]].concat();
            assert_eq!(code(open_both(&longer, &key(1))), "age-damaged", "{len} and {more}");
        }
        let twice = [file.as_slice(), &file].concat();
        assert_eq!(code(open_both(&twice, &key(1))), "age-damaged", "{len}");
    }
    let file = vector(&[vec![1; CHUNK_LEN], vec![2; CHUNK_LEN], vec![3; 9]].concat());
    let (head, body) = file.split_at(file.len() - 2 * chunk - 9 - TAG_LEN);
    let swapped = [head, &body[chunk..2 * chunk], &body[..chunk], &body[2 * chunk..]].concat();
    assert_eq!(code(open_both(&swapped, &key(1))), "age-damaged");
}

#[test]
fn an_empty_last_chunk_after_full_ones_is_refused() {
    let mut file = forged(&stanza(), b"");
    file.truncate(file.len() - TAG_LEN);
    let key_of = payload::payload_key(&[1; 16], &[3; 16]).unwrap();
    let mut chunk = vec![0; CHUNK_LEN + TAG_LEN];
    key_of.seal(0, false, &[7; CHUNK_LEN], &mut chunk).unwrap();
    file.extend_from_slice(&chunk);
    key_of.seal(1, true, &[], &mut chunk[..TAG_LEN]).unwrap();
    file.extend_from_slice(&chunk[..TAG_LEN]);
    assert_eq!(code(open_both(&file, &key(1))), "age-damaged");
}

#[test]
fn stanzas_of_other_kinds_are_passed_over() {
    let own = stanza();
    let full = "A".repeat(64);
    for grease in
        ["-> x-grease a b\n\n", &format!("-> joint/1 !~\n{full}\nAAA\n"), &format!("-> x\n{full}\n\n")]
    {
        for stanzas in [format!("{grease}{own}"), format!("{own}{grease}")] {
            assert_eq!(open_both(&forged(&stanzas, b"hi"), &key(1)).unwrap(), b"hi", "{stanzas}");
        }
        assert_eq!(code(open_both(&forged(grease, b"hi"), &key(1))), "age-no-recipient");
    }
}

#[test]
fn a_header_has_one_form_only() {
    let own = stanza();
    let (line, body) = own.trim_end().split_once('\n').unwrap();
    let share = line.strip_prefix("-> X25519 ").unwrap();
    let low_order = STANDARD_NO_PAD.encode([0; 32]);
    let last = |text: &str, c: char| format!("{}{c}", &text[..text.len() - 1]);
    let many = "-> x\n\n".repeat(MAX_STANZAS);
    for (why, stanzas) in [
        ("no stanza", String::new()),
        ("no argument", format!("-> X25519\n{body}\n")),
        ("two arguments", format!("-> X25519 {share} a\n{body}\n")),
        ("two spaces", format!("-> X25519  {share}\n{body}\n")),
        ("a space at the end", format!("-> X25519 {share} \n{body}\n")),
        ("a tab", format!("-> X25519\t{share}\n{body}\n")),
        ("no space", format!("->X25519 {share}\n{body}\n")),
        ("carriage returns", own.replace('\n', "\r\n")),
        ("padding after the share", format!("-> X25519 {share}=\n{body}\n")),
        ("padding after the body", format!("-> X25519 {share}\n{body}=\n")),
        ("loose bits in the share", format!("-> X25519 {}\n{body}\n", last(share, '/'))),
        ("loose bits in the body", format!("-> X25519 {share}\n{}\n", last(body, '/'))),
        ("URL-safe base64", format!("-> x\n-_-_\n{own}")),
        ("a short share", format!("-> X25519 {}\n{body}\n", &share[..40])),
        ("a short body", format!("-> X25519 {share}\n{}\n", &body[..40])),
        ("a long body", format!("-> X25519 {share}\n{}\n", STANDARD_NO_PAD.encode([0; 33]))),
        ("a share of small order", format!("-> X25519 {low_order}\n{body}\n")),
        ("a damaged stanza beside a good one", format!("{own}-> X25519 a\n{body}\n")),
        ("a passphrase beside a key", format!("-> scrypt AAAA 10\n{body}\n{own}")),
        ("an empty line", format!("\n{own}")),
        ("a line of 65", format!("-> x\n{}\n\n{own}", "A".repeat(65))),
        ("a full line that nothing follows", format!("-> x\n{}\n{own}", "A".repeat(64))),
        ("a non-ASCII argument", format!("-> é\n\n{own}")),
        ("too many stanzas", format!("{many}{own}")),
        ("too long", format!("-> {}\n\n{own}", "a".repeat(MAX_HEADER_BYTES))),
    ] {
        assert_eq!(code(open_both(&forged(&stanzas, b"hi"), &key(1))), "age-bad-header", "{why}");
    }
    let fits = format!("{}{own}", "-> x\n\n".repeat(MAX_STANZAS - 1));
    assert_eq!(open_both(&forged(&fits, b"hi"), &key(1)).unwrap(), b"hi");
}

#[test]
fn other_files_are_named_as_such() {
    for other in [
        b"\x28\xb5\x2f\xfd rest\n".as_slice(),
        b"age-encryption.org/v2\nfoo\n",
        b"age-encryption.org/v1 \nfoo\n",
        b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n",
        &[0; 40_000],
    ] {
        assert_eq!(code(open_both(other, &key(1))), "age-bad-header");
    }
    // A MAC in another form than the one.
    let text = String::from_utf8(vector(b"")[..168].to_vec()).unwrap();
    for wrong in [text.replace("--- ", "---"), text.replace("--- ", "---  "), text.replace("--- ", "--- =")] {
        assert_eq!(code(open_both(wrong.as_bytes(), &key(1))), "age-bad-header");
    }
}

#[test]
fn a_changed_header_of_which_the_stanza_still_opens_is_damaged() {
    let file = vector(b"hello");
    let text = b"age-encryption.org/v1\n";
    let more = [text.as_slice(), b"-> x\n\n", &file[text.len()..]].concat();
    assert_eq!(code(open_both(&more, &key(1))), "age-damaged");
}

#[test]
fn nobody_and_too_many_are_no_recipients_and_a_point_of_small_order_is_none() {
    assert_eq!(code(Sealer::new(&[])), "no-recipient");
    let recipient = key(1).recipient();
    assert_eq!(code(Sealer::new(&[recipient; MAX_STANZAS + 1])), "too-many-recipients");
    let full = seal(b"x", &[recipient; MAX_STANZAS]).unwrap();
    assert_eq!(open_both(&full, &key(1)).unwrap(), b"x");
    let mut out = b"kept".to_vec();
    let sealer = Sealer::new(&[Recipient::from_bytes([0; 32])]).unwrap();
    assert_eq!(code(sealer.seal_into(b"x", &mut out)), "bad-recipient");
    assert_eq!(out, b"kept");
}

#[test]
fn a_writer_that_failed_or_was_dropped_leaves_no_file_that_opens() {
    struct Full(Vec<u8>, usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let count = bytes.len().min(self.1);
            if count == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.1 -= count;
            self.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let sealer = Sealer::new(&[key(1).recipient()]).unwrap();
    let mut writer = sealer.writer(Full(Vec::new(), 1000)).unwrap();
    assert!(writer.write_all(&[7; 100_000]).is_err());
    assert!(writer.write_all(b"more").is_err(), "it does not go on after a hole");
    assert!(writer.finish().is_err());

    let mut out = Vec::new();
    let mut writer = sealer.writer(&mut out).unwrap();
    writer.write_all(&[7; 100_000]).unwrap();
    drop(writer);
    assert_eq!(code(open_both(&out, &key(1))), "age-truncated");
}

#[test]
fn a_reader_gives_what_is_authentic_and_fails_for_good() {
    let mut file = vector(&vec![7; CHUNK_LEN + 9]);
    let at = file.len() - 1;
    file[at] ^= 1;
    let mut reader = OpenReader::new(file.as_slice(), &key(1)).unwrap();
    let mut first = vec![0; CHUNK_LEN];
    reader.read_exact(&mut first).unwrap();
    assert_eq!(first, vec![7; CHUNK_LEN]);
    for _ in 0..2 {
        let error = reader.read(&mut first).unwrap_err();
        assert_eq!(from_io("reading", error).code(), "age-damaged");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = open_both(&bytes, &key(1));
        let after = [b"age-encryption.org/v1\n-> ".as_slice(), &bytes].concat();
        let _ = open_both(&after, &key(1));
    }
}
