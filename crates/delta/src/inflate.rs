//! Inflating a DEFLATE stream into memory, never more than was declared.

use flate2::{Decompress, FlushDecompress, Status};

/// Room past the end, in which a stream that gives too much shows itself.
pub(crate) const SPARE: usize = 64;

/// Inflates a stream at the start of `input` that must give at most `most` bytes. Answers the plain
/// text and the length of the stream; none when it is not one or gives more.
///
/// Grows with what the stream really gives, so that a false size costs nothing.
pub(crate) fn inflate(input: &[u8], most: usize) -> Option<(Vec<u8>, usize)> {
    inflate_into(
        input,
        most,
        Vec::with_capacity(most.min(input.len().saturating_mul(3)).saturating_add(SPARE)),
    )
}

/// Like [`inflate`], in one allocation of `size` and [`SPARE`] bytes, for a size that is accounted for.
pub(crate) fn inflate_exact(input: &[u8], size: usize) -> Option<(Vec<u8>, usize)> {
    inflate_into(input, size, Vec::with_capacity(size.saturating_add(SPARE)))
}

fn inflate_into(input: &[u8], most: usize, mut plain: Vec<u8>) -> Option<(Vec<u8>, usize)> {
    let mut state = Decompress::new(false);
    loop {
        let read = usize::try_from(state.total_in()).ok()?;
        if plain.len() == plain.capacity() {
            if plain.len() > most {
                return None;
            }
            let grow = (plain.len() / 2).max(4096).min(most - plain.len() + 1);
            plain.reserve_exact(grow);
        }
        let before = plain.len();
        let status = state.decompress_vec(input.get(read..)?, &mut plain, FlushDecompress::None).ok()?;
        let after = usize::try_from(state.total_in()).ok()?;
        if plain.len() > most {
            return None;
        }
        match status {
            Status::StreamEnd => return Some((plain, after)),
            // Neither read nor wrote although there was room: the stream is cut off.
            _ if after == read && plain.len() == before && plain.len() < plain.capacity() => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn deflated(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_stream_gives_its_plain_text_and_its_length() {
        let plain = b"again and ".repeat(5000);
        let mut stream = deflated(&plain);
        let len = stream.len();
        stream.extend_from_slice(b"what follows");
        assert_eq!(inflate(&stream, plain.len()).unwrap(), (plain.clone(), len));
        assert_eq!(inflate(&stream, plain.len() * 9).unwrap().1, len);
    }

    #[test]
    fn a_bomb_a_cut_and_noise_give_nothing() {
        let bomb = deflated(&vec![0; 5_000_000]);
        assert!(inflate(&bomb, 4_999_999).is_none());
        assert!(inflate(&bomb, 0).is_none());
        assert!(inflate(bomb.get(..bomb.len() - 3).unwrap(), 5_000_000).is_none());
        assert!(inflate(&[0xff; 40], 1000).is_none());
        assert!(inflate(&[], 1000).is_none());
    }
}
