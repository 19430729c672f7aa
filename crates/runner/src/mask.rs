//! Replaces secret values in a stream of log bytes, also where a value is split between two chunks.
//!
//! Must never let a byte out that may be the start of a value which the next chunk completes.

/// The replacement of every value.
const MARK: &[u8] = b"[MASKED]";

/// A streaming replacer for one log.
#[derive(Debug)]
pub struct Masker {
    /// The longest first, so that a value which contains another one goes as a whole.
    values: Vec<Vec<u8>>,
    first: [bool; 256],
    held: Vec<u8>,
}

impl Masker {
    /// A replacer for `values`; empty ones are ignored.
    pub fn new(values: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        let mut values: Vec<Vec<u8>> =
            values.into_iter().map(Into::into).filter(|value| !value.is_empty()).collect();
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        let mut first = [false; 256];
        for value in &values {
            first[usize::from(value[0])] = true;
        }
        Self { values, first, held: Vec::new() }
    }

    /// Takes the next chunk and returns what may be shown now.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.held);
        input.extend_from_slice(chunk);
        let (out, used) = self.replace(&input, false);
        self.held = input.split_off(used);
        out
    }

    /// The end of the stream: what was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        let input = std::mem::take(&mut self.held);
        self.replace(&input, true).0
    }

    /// Returns the output and how many bytes of the input it stands for.
    fn replace(&self, input: &[u8], last: bool) -> (Vec<u8>, usize) {
        let mut out = Vec::with_capacity(input.len());
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            if !self.first[usize::from(rest[0])] {
                out.push(rest[0]);
                at += 1;
                continue;
            }
            if !last && self.values.iter().any(|value| value.len() > rest.len() && value.starts_with(rest)) {
                return (out, at);
            }
            match self.values.iter().find(|value| rest.starts_with(value)) {
                Some(value) => {
                    out.extend_from_slice(MARK);
                    at += value.len();
                }
                None => {
                    out.push(rest[0]);
                    at += 1;
                }
            }
        }
        (out, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(values: &[&str], chunks: &[&str]) -> String {
        let mut masker = Masker::new(values.iter().map(|value| value.as_bytes()));
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend(masker.push(chunk.as_bytes()));
        }
        out.extend(masker.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_is_replaced_wherever_the_chunks_are_cut() {
        let text = "begin hunter2hunter2 middle hunter2 end hunter";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let chunks = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(
                    masked(&["hunter2"], &chunks),
                    "begin [MASKED][MASKED] middle [MASKED] end hunter"
                );
            }
        }
    }

    #[test]
    fn the_longer_of_two_values_wins() {
        assert_eq!(masked(&["abc", "abcdef"], &["x abc", "def y abcd z"]), "x [MASKED] y [MASKED]d z");
    }

    #[test]
    fn text_that_only_begins_like_a_value_comes_out() {
        let mut masker = Masker::new([b"secret".as_slice()]);
        assert_eq!(masker.push(b"see sec"), b"see ");
        assert_eq!(masker.push(b"ond"), b"second");
        assert_eq!(masker.finish(), b"");
    }

    #[test]
    fn without_values_everything_passes_at_once() {
        assert_eq!(masked(&["", ""], &["a", "b"]), "ab");
    }
}
