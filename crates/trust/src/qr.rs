//! QR codes (ISO/IEC 18004) of a few bytes: for a page, and for a terminal.
//!
//! What comes out must never hold a script, a style or any byte of the data as text, so that a page
//! with the strictest content security policy can show it.

use std::fmt::Write as _;

use cofferdam_types::{Error, ErrorKind, Result};
use qrcodegen::{QrCode, QrCodeEcc};

/// A code holds at most this many bytes. The largest one (version 40, level L) has room for 2953.
pub const MAX_BYTES: usize = 2900;
/// Light modules around the code that the standard asks for.
const QUIET: i32 = 4;

/// The code in byte mode, at the smallest size and the best error correction that this size allows.
fn code(data: &[u8]) -> Result<QrCode> {
    let too_long = || {
        let text = format!("{} bytes are too many for a QR code; the limit is {MAX_BYTES}", data.len());
        Error::new(ErrorKind::TooLarge, "qr-too-long", text)
            .hint("carry them as a file, or ask for less detail")
    };
    if data.len() > MAX_BYTES {
        return Err(too_long());
    }
    QrCode::encode_binary(data, QrCodeEcc::Low).map_err(|_| too_long())
}

/// An SVG image of the code with its quiet zone, one unit for each module; it has no size of its own and
/// fills what it stands in.
///
/// # Errors
/// `TooLarge` (`qr-too-long`) over [`MAX_BYTES`].
pub fn svg(data: &[u8]) -> Result<String> {
    let code = code(data)?;
    let side = code.size() + 2 * QUIET;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" role=\"img\" \
         aria-label=\"QR code\" shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/>\
         <path fill=\"#000\" d=\""
    );
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|at| code.get_module(*at, y)).count() as i32;
            if run > 0 {
                // Writing to a string cannot fail.
                let _ = write!(out, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
            }
            x += run.max(1);
        }
    }
    out.push_str("\"/></svg>");
    Ok(out)
}

/// The code as lines of half blocks, two modules high, for a terminal with light letters on a dark
/// ground: what is lit is a light module. It is as wide as the code and eight.
///
/// # Errors
/// `TooLarge` (`qr-too-long`) over [`MAX_BYTES`].
pub fn terminal(data: &[u8]) -> Result<String> {
    let code = code(data)?;
    let range = -QUIET..code.size() + QUIET;
    let mut out = String::new();
    for y in range.clone().step_by(2) {
        for x in range.clone() {
            // Outside of the code every module is light; below the last row nothing is lit.
            let lower = y + 1 < range.end && !code.get_module(x, y + 1);
            out.push(match (!code.get_module(x, y), lower) {
                (true, true) => '\u{2588}',
                (true, false) => '\u{2580}',
                (false, true) => '\u{2584}',
                (false, false) => ' ',
            });
        }
        out.push('\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules that are dark, read from the terminal's text.
    fn from_terminal(text: &str) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in text.lines() {
            rows.push(line.chars().map(|c| !matches!(c, '█' | '▀')).collect());
            rows.push(line.chars().map(|c| !matches!(c, '█' | '▄')).collect::<Vec<bool>>());
        }
        rows.truncate(rows[0].len());
        rows
    }

    /// The modules that are dark, painted from the path of the SVG.
    fn from_svg(svg: &str) -> Vec<Vec<bool>> {
        let side: usize =
            svg.split("viewBox=\"0 0 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let mut rows = vec![vec![false; side]; side];
        let path = svg.split("fill=\"#000\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        for run in path.split('M').skip(1) {
            let numbers: Vec<usize> =
                run.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
            let [x, y, length, 1, back] = numbers[..] else { panic!("{run}") };
            assert_eq!(length, back);
            rows[y][x..x + length].fill(true);
        }
        rows
    }

    /// Reads a code of version 1 as the standard says, with nothing of the encoder: format bits, mask,
    /// zigzag, byte mode.
    fn read_version_1(rows: &[Vec<bool>]) -> Vec<u8> {
        let q = QUIET as usize;
        let dark = |x: usize, y: usize| rows[y + q][x + q];
        assert_eq!(rows.len(), 21 + 2 * q);
        // Format information beside the upper left finder: 15 bits of a BCH code under a fixed mask.
        let cells =
            (0..6).map(|x| (x, 8)).chain([(7, 8), (8, 8), (8, 7)]).chain((0..6).rev().map(|y| (8, y)));
        let format = cells.fold(0_u32, |bits, (x, y)| bits << 1 | u32::from(dark(x, y))) ^ 0x5412;
        let mut rest = format;
        for bit in (10..15).rev() {
            if rest >> bit & 1 == 1 {
                rest ^= 0x537 << (bit - 10);
            }
        }
        assert_eq!(rest, 0, "the format information is a code word");
        let mask = format >> 10 & 7;
        let flipped = |x: usize, y: usize| {
            let value = match mask {
                0 => (x + y) % 2,
                1 => y % 2,
                2 => x % 3,
                3 => (x + y) % 3,
                4 => (x / 3 + y / 2) % 2,
                5 => x * y % 2 + x * y % 3,
                6 => (x * y % 2 + x * y % 3) % 2,
                _ => ((x + y) % 2 + x * y % 3) % 2,
            };
            value == 0
        };
        let reserved =
            |x: usize, y: usize| x == 6 || y == 6 || (x < 9 && !(9..=12).contains(&y)) || (x > 12 && y < 9);
        let mut bits = Vec::new();
        for (pair, right) in [20, 18, 16, 14, 12, 10, 8, 5, 3, 1].into_iter().enumerate() {
            for step in 0..21 {
                let y = if pair % 2 == 0 { 20 - step } else { step };
                for x in [right, right - 1] {
                    if !reserved(x, y) {
                        bits.push(dark(x, y) != flipped(x, y));
                    }
                }
            }
        }
        let mut bits = bits.into_iter();
        let mut take = |count| (0..count).fold(0_usize, |n, _| n << 1 | usize::from(bits.next().unwrap()));
        assert_eq!(take(4), 0b0100, "byte mode");
        let length = take(8);
        (0..length).map(|_| take(8) as u8).collect()
    }

    #[test]
    fn the_modules_say_what_was_written() {
        for data in [b"".as_slice(), b"A", b"cofferdam", &[0, 255, 7, 128], b"17 bytes of text."] {
            assert_eq!(read_version_1(&from_svg(&svg(data).unwrap())), data);
            assert_eq!(read_version_1(&from_terminal(&terminal(data).unwrap())), data);
        }
    }

    #[test]
    fn both_forms_show_the_same_code_with_its_finders_and_its_quiet_zone() {
        for len in [1, 100, 1000, MAX_BYTES] {
            let data: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
            let rows = from_svg(&svg(&data).unwrap());
            assert!(rows == from_terminal(&terminal(&data).unwrap()), "{len}");
            let (side, q) = (rows.len(), QUIET as usize);
            let edge = |at: usize| at < q || at >= side - q;
            for (y, row) in rows.iter().enumerate() {
                assert!(row.iter().enumerate().all(|(x, dark)| !(*dark && (edge(x) || edge(y)))), "{y}");
            }
            for (left, top) in [(q, q), (side - q - 7, q), (q, side - q - 7)] {
                for y in 0..7_usize {
                    for x in 0..7_usize {
                        let ring = x.abs_diff(3).max(y.abs_diff(3));
                        assert_eq!(rows[top + y][left + x], ring != 2, "{x} {y}");
                    }
                }
            }
            // Between the finders the modules alternate.
            assert!((8..side - 2 * q - 8).all(|at| rows[q + 6][q + at] == (at % 2 == 0)));
        }
    }

    #[test]
    fn an_image_has_nothing_that_a_strict_page_refuses() {
        let svg = svg(b"<script>alert(1)</script>").unwrap();
        for refused in ["<script", "style", "<!", "href", "url(", "onload", "alert"] {
            assert!(!svg.contains(refused), "{refused}");
        }
        assert!(svg.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
    }

    #[test]
    fn too_much_is_refused_with_the_limit() {
        let long = vec![7; MAX_BYTES + 1];
        for error in [svg(&long).unwrap_err(), terminal(&long).unwrap_err()] {
            assert_eq!(error.code(), "qr-too-long");
            assert!(error.message().contains("2901") && error.message().contains("2900"));
        }
    }
}
