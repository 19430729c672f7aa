//! Bytes as words that two people read to each other over a telephone, and back.
//!
//! The words are BIP-39's English list: 2048 of them, so 11 bits each, and the first four letters
//! tell them apart. Four words, 44 bits, make a numbered line: four bytes and a check of 12 bits. A
//! fingerprint of 32 bytes is eight lines. (The PGP list needs as many words with no check at all and
//! has no short form; the EFF's words are up to nine letters long and differ late.)
//!
//! The check is a cyclic code of degree 12 over the line, with the line's number, its length and
//! whether it is the last one mixed in. It finds *every* single wrong word of a line, *every* two words
//! of a line that changed places, every line at a wrong place and a missing end; of anything worse it
//! lets 1 in 4096 lines pass. The number is mixed in modulo 512: in more than 512 lines, about 2 KiB, lines
//! that are a multiple of 512 apart can change places unseen. So words are for comparing and for carrying, never a proof of where they
//! come from. This module must never correct a word silently.

use bip39::Language;
use cofferdam_types::{Error, Result};

/// A text of words may be at most this long, in bytes: enough for about 6 KiB of data.
pub const MAX_TEXT_BYTES: usize = 64 << 10;
const BYTES_IN_LINE: usize = 4;
const WORDS_IN_LINE: usize = 4;
const WORD_BITS: usize = 11;
const CHECK_BITS: u32 = 12;
const CHECK_MASK: u64 = (1 << CHECK_BITS) - 1;
/// x^12 + x^6 + x^4 + x + 1: primitive, so it shares no factor with x^11+1, x^22+1 and x^33+1, and two
/// words of a line that change places always leave a remainder; and no remainder of 12 bits is that of a
/// single word.
const POLYNOMIAL: u64 = 0x1053;
/// Letters that tell two words apart.
const PREFIX_LETTERS: usize = 4;

/// How many words carry so many bytes and the check, and back: each length has one number of words, so
/// that a line says how much it carries without a count that could be misread.
const LENGTHS: [(usize, usize); 3] = [(4, 4), (2, 3), (1, 2)];

/// What is mixed into the check of a line: is it the last one, how many words has it, which is it.
const fn mark(index: usize, words: usize, last: bool) -> u64 {
    (last as u64) << 11 | (WORDS_IN_LINE.saturating_sub(words) as u64) << 9 | (index as u64 & 0x1ff)
}

/// The remainder of the 32 bits, shifted up by 12, in the cyclic code.
fn check(data: u32) -> u64 {
    let mut rest = u64::from(data) << CHECK_BITS;
    for bit in (CHECK_BITS..CHECK_BITS + u32::BITS).rev() {
        if rest >> bit & 1 == 1 {
            rest ^= POLYNOMIAL << (bit - CHECK_BITS);
        }
    }
    rest
}

/// The bytes as numbered lines of four words. At the end two bytes have a line of three words, one byte
/// one of two, and three bytes have both. Nothing has no line.
#[must_use]
pub fn encode(bytes: &[u8]) -> Vec<String> {
    let (full, rest) = bytes.split_at(bytes.len() - bytes.len() % BYTES_IN_LINE);
    let (two, one) = rest.split_at(rest.len() & 2);
    let chunks: Vec<&[u8]> =
        full.chunks(BYTES_IN_LINE).chain([two, one]).filter(|chunk| !chunk.is_empty()).collect();
    let line = |(index, chunk): (usize, &&[u8])| {
        let data = chunk.iter().fold(0, |data, byte| data << 8 | u32::from(*byte));
        let words = LENGTHS.iter().find(|(bytes, _)| *bytes == chunk.len()).map_or(0, |(_, words)| *words);
        let bits =
            u64::from(data) << CHECK_BITS | (check(data) ^ mark(index, words, index + 1 == chunks.len()));
        let word = |at: usize| Language::English.word_list()[(bits >> (WORD_BITS * at) & 0x7ff) as usize];
        format!("{}. {}", index + 1, (0..words).rev().map(word).collect::<Vec<_>>().join(" "))
    };
    chunks.iter().enumerate().map(line).collect()
}

/// The bytes of what somebody typed: the lines of [`encode`], blank lines and upper case as they like,
/// the number in front or not. Four letters of a word suffice; what follows them is not read.
///
/// # Errors
/// `Invalid`, each naming the line: `words-unknown` (not in the list), `words-line` (too many or too few
/// words, a number out of turn, or lines after the last one), `words-check` (a word of the line is wrong,
/// or the line is not at its place), `words-truncated` (the last line is missing), `words-too-long`.
pub fn decode(text: &str) -> Result<Vec<u8>> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Error::invalid(
            "words-too-long",
            format!("the words are longer than {MAX_TEXT_BYTES} bytes"),
        ));
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return Err(Error::invalid("words-truncated", "there are no words: line 1 is missing"));
    }
    let mut bytes = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        bytes.extend(decode_line(line, index, lines.len() - index - 1)?);
    }
    Ok(bytes)
}

/// The words of a line without its number, which must be the right one.
fn words_of(line: &str, number: usize) -> Result<Vec<&str>> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let first = words.first().map(|word| word.trim_end_matches(['.', ':', ')']));
    if let Some(given) = first.filter(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
        if given.parse() != Ok(number) {
            let shown: String = given.chars().take(10).collect();
            let text =
                format!("line {number} is expected, and the line that is there has the number {shown}");
            return Err(Error::invalid("words-line", text)
                .hint("give every line once, in the order of their numbers"));
        }
        words.remove(0);
    }
    Ok(words)
}

fn decode_line(line: &str, index: usize, follow: usize) -> Result<Vec<u8>> {
    let number = index + 1;
    let words = words_of(line, number)?;
    // Only the end is shorter: three words before at most one line more, two words before none.
    let length = LENGTHS.iter().find(|(_, count)| *count == words.len() && follow <= count.saturating_sub(2));
    let length = length.or_else(|| LENGTHS.first().filter(|(_, count)| *count == words.len()));
    let Some((count, _)) = length else {
        let text = format!("line {number} has {} words; {WORDS_IN_LINE} are expected", words.len());
        return Err(Error::invalid("words-line", text).hint("have this line read again"));
    };
    let mut bits = 0_u64;
    for (at, word) in words.iter().enumerate() {
        bits = bits << WORD_BITS | find(word).ok_or_else(|| unknown(word, number, at + 1))? as u64;
    }
    let data = (bits >> CHECK_BITS) as u32;
    let found = bits & CHECK_MASK ^ check(data);
    let bytes = data.to_be_bytes();
    let (padding, bytes) = bytes.split_at(BYTES_IN_LINE - count);
    let fits = padding.iter().all(|byte| *byte == 0);
    if fits && found == mark(index, words.len(), follow == 0) {
        return Ok(bytes.to_vec());
    }
    if fits && found == mark(index, words.len(), follow > 0) {
        return Err(if follow == 0 {
            let text = format!("line {number} is not the last one: line {} is missing", number + 1);
            Error::invalid("words-truncated", text).hint("have the rest of the lines read")
        } else {
            let text = format!("line {number} is the last one, and more lines follow");
            Error::invalid("words-line", text).hint("give the lines of one text only")
        });
    }
    let text = format!("line {number} does not check: one of its words is wrong, or it is not line {number}");
    Err(Error::invalid("words-check", text).hint("have this line read again, with its number"))
}

/// The number of the word that is `word` or begins with its first four letters. The list is sorted.
fn find(word: &str) -> Option<usize> {
    let list = Language::English.word_list();
    let word = word.to_ascii_lowercase();
    list.binary_search(&word.as_str()).ok().or_else(|| {
        let head = word.get(..PREFIX_LETTERS)?;
        let at = list.partition_point(|known| *known < head);
        list.get(at).filter(|known| known.starts_with(head)).map(|_| at)
    })
}

fn unknown(word: &str, line: usize, at: usize) -> Error {
    let shown: String = word.chars().take(20).collect();
    let near =
        Language::English.word_list().iter().find(|known| one_apart(known, &shown.to_ascii_lowercase()));
    let hint = near.map_or("have it read again".to_owned(), |near| {
        format!("perhaps it is `{near}`; have it read again")
    });
    let text = format!("word {at} of line {line}, `{shown}`, is not in the list");
    Error::invalid("words-unknown", text).hint(hint)
}

/// Does one letter more, less or other make `a` of `b`?
fn one_apart(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let tail = |of: &[u8], skip: usize| of.get(same + skip..).map(<[u8]>::to_vec);
    let equal = |x: Option<Vec<u8>>, y: Option<Vec<u8>>| x.is_some() && x == y;
    equal(tail(a, 1), tail(b, 1)) || equal(tail(a, 1), tail(b, 0)) || equal(tail(a, 0), tail(b, 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> (&'static str, String) {
        let error = decode(text).unwrap_err();
        (error.code(), error.message().to_owned())
    }

    #[test]
    fn the_list_is_what_the_code_counts_on() {
        let list = Language::English.word_list();
        let heads: std::collections::BTreeSet<&str> =
            list.iter().map(|word| word.get(..PREFIX_LETTERS).unwrap_or(word)).collect();
        assert_eq!(heads.len(), 2048);
        assert!(list.is_sorted() && list.iter().all(|word| (3..=8).contains(&word.len())));
        assert_eq!(
            cofferdam_types::Sha256::of(list.join("\n").as_bytes()).to_string(),
            "187db04a869dd9bc7be80d21a86497d692c0db6abd3aa8cb6be5d618ff757fae"
        );
    }

    #[test]
    fn a_fingerprint_is_eight_lines_that_do_not_change() {
        let lines = encode(&[0x42; 32]);
        assert_eq!(
            (lines.len(), lines[0].as_str(), lines[7].as_str()),
            (8, "1. drastic bamboo mountain miss", "8. drastic bamboo mouse minor")
        );
        assert_eq!(decode(&lines.join("\n")).unwrap(), [0x42; 32]);
    }

    #[test]
    fn people_type_as_they_like() {
        let bytes = b"0123456789";
        let lines = encode(bytes);
        let bare: Vec<String> =
            lines.iter().map(|line| line.split_once(' ').unwrap().1.to_uppercase()).collect();
        assert_eq!(decode(&bare.join("\n\n")).unwrap(), bytes);
        let short = |line: &String| {
            let words: Vec<&str> = line.split(' ').map(|word| word.get(..4).unwrap_or(word)).collect();
            format!("  {}  ", words.join("   "))
        };
        assert_eq!(decode(&lines.iter().map(short).collect::<Vec<_>>().join("\r\n")).unwrap(), bytes);
        assert_eq!(decode(&lines.join("\n").replace(". ", ": ")).unwrap(), bytes);
    }

    #[test]
    fn every_wrong_word_is_found_and_its_line_named() {
        let list = Language::English.word_list();
        for bytes in [[0; 11], [0xff; 11], *b"abcdefghijk"] {
            let lines = encode(&bytes);
            assert_eq!(
                lines.iter().map(|line| line.split(' ').count() - 1).collect::<Vec<_>>(),
                [4, 4, 3, 2]
            );
            for (number, line) in lines.iter().enumerate() {
                for at in 1..line.split(' ').count() {
                    let mut words: Vec<&str> = line.split(' ').collect();
                    let right = words[at];
                    for wrong in list.iter().filter(|word| **word != right) {
                        words[at] = wrong;
                        let mut text = lines.clone();
                        text[number] = words.join(" ");
                        let (code, message) = code(&text.join("\n"));
                        // 1 in 4096 looks as if it were the last line, or not the last one.
                        assert!(
                            ["words-check", "words-line", "words-truncated"].contains(&code),
                            "{message}"
                        );
                        assert!(message.starts_with(&format!("line {} ", number + 1)), "{wrong}: {message}");
                    }
                }
            }
        }
    }

    #[test]
    fn lines_that_are_missing_repeated_or_out_of_order_are_named() {
        let lines = encode(b"0123456789ab");
        let bare: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        let of = |order: &[usize]| order.iter().map(|n| bare[*n]).collect::<Vec<_>>().join("\n");
        assert_eq!(code(&of(&[1, 0, 2])).0, "words-check");
        assert!(code(&of(&[0, 2])).1.contains("line 2"));
        assert!(code(&of(&[0, 1, 1, 2])).1.contains("line 3"));
        assert_eq!(
            code(&of(&[0, 1])),
            ("words-truncated", "line 2 is not the last one: line 3 is missing".into())
        );
        assert_eq!(code(&of(&[0, 1, 2, 0])).0, "words-line");
        assert_eq!(code(&[lines[0].as_str(), &lines[2]].join("\n")).0, "words-line");
        assert_eq!(code("").0, "words-truncated");
        assert_eq!(code("1. abandon ability able about above").0, "words-line");
        assert_eq!(code("1.").0, "words-line");
        let short = encode(b"0123456");
        assert_eq!(short.len(), 3);
        assert_eq!(code(&short[..2].join("\n")).0, "words-truncated");
        for (at, of) in [(0, 4), (1, 3), (2, 2)] {
            let mut text = short.clone();
            text[at] = text[at].rsplit_once(' ').unwrap().0.to_owned();
            let (code, message) = code(&text.join("\n"));
            assert!(
                code.starts_with("words-") && message.contains(&format!("line {}", at + 1)),
                "{of}: {message}"
            );
        }
        // The first word of a line of zeros is the first of the list: without it the line is another.
        let zeros = encode(&[0; 4]);
        let rest = zeros[0].strip_prefix("1. abandon ").unwrap();
        assert_eq!(code(rest).0, "words-check");
        assert_eq!(code(&"a ".repeat(MAX_TEXT_BYTES)).0, "words-too-long");
    }

    #[test]
    fn a_word_that_is_not_in_the_list_is_named_with_the_one_it_may_be() {
        let error = decode("1. abandon abillity able about").unwrap_err();
        assert_eq!(error.code(), "words-check", "four letters suffice: {error}");
        let error = decode("1. abandon abxlity able about").unwrap_err();
        assert_eq!(error.code(), "words-unknown");
        assert!(error.message().contains("word 2 of line 1"));
        let error = decode("1. abandon ability zxqv about").unwrap_err();
        assert_eq!(error.advice(), Some("have it read again"));
        for near in ["aple", "appple", "opple", "xpple"] {
            assert!(one_apart("apple", near), "{near}");
        }
        assert!(!one_apart("apple", "aplpe") && !one_apart("apple", "ap"));
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 1..100)) {
            prop_assert_eq!(decode(&encode(&bytes).join("\n")).unwrap(), bytes);
        }

        #[test]
        fn two_words_of_a_line_that_changed_places_are_found(
            bytes in proptest::collection::vec(any::<u8>(), 1..40), pick in any::<prop::sample::Index>(),
            a in 1_usize..5, b in 1_usize..5,
        ) {
            let mut lines = encode(&bytes);
            let line = pick.index(lines.len());
            let mut words: Vec<&str> = lines[line].split(' ').collect();
            prop_assume!(a.max(b) < words.len() && words[a] != words[b]);
            words.swap(a, b);
            lines[line] = words.join(" ");
            let (code, message) = code(&lines.join("\n"));
            let named = format!("line {} ", line + 1);
            prop_assert!(code.starts_with("words-") && message.starts_with(&named), "{}", message);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", numbers in "([0-9]{0,30}[.:)]? [a-zé]{0,9}\n?){0,9}") {
            let _ = (decode(&text), decode(&numbers));
        }
    }
}
