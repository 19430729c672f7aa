//! `Packages` indexes: read in one pass, unpacked within bounds, for what they say of packages that are here.
//!
//! Must never hold an index whole, nor trust what it says of its own size.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom},
};

use cofferdam_types::Sha256;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

/// Bytes of an index before it is unpacked, and after, at the most.
pub const LONGEST: u64 = 256 << 20;
const LONGEST_UNPACKED: u64 = 1 << 30;
/// Memory that unpacking xz may take, in KiB: the largest dictionary that its own levels have, twice.
const XZ_MEMORY: u32 = 130 << 10;
/// Bytes of a line that are kept: no field that is read is longer.
const LONGEST_LINE: usize = 4096;

/// The packages that are here: their answers by address.
pub type Wanted = HashMap<String, Vec<usize>>;

/// What an index says of a package that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which answer it is.
    pub answer: usize,
    /// What the index lists.
    pub sha256: Sha256,
    /// Its bytes.
    pub size: u64,
    /// Whether its name holds its version, so that the name is that of these bytes for ever.
    pub versioned: bool,
}

/// Reads an index for what it says of these packages. Its paths begin at one of the roots.
///
/// # Errors
/// In words, when it cannot be read whole.
pub fn read(mut file: File, roots: &[String], wanted: &Wanted) -> Result<Vec<Entry>, String> {
    let mut magic = [0; 6];
    let mut count = 0;
    while let Some(rest) = magic.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(|e| format!("it cannot be read: {}", e.kind()))? {
            0 => break,
            more => count += more,
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(|e| format!("it cannot be read: {}", e.kind()))?;
    match magic {
        [0x1F, 0x8B, ..] => stanzas(MultiGzDecoder::new(file), roots, wanted),
        [0xFD, b'7', b'z', b'X', b'Z', 0] => {
            stanzas(XzReader::new_mem_limit(BufReader::new(file), true, XZ_MEMORY), roots, wanted)
        }
        [b'B', b'Z', b'h', ..] => Err("it is packed with bzip2, which is not known here".into()),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Err("it is packed with zstd, which is not known here".into()),
        _ => stanzas(file, roots, wanted),
    }
}

/// The fields of one package that count.
#[derive(Default)]
struct Stanza {
    filename: Option<String>,
    version: Option<String>,
    sha256: Option<Sha256>,
    size: Option<u64>,
}

impl Stanza {
    fn take(&mut self, line: &str) {
        let Some((name, value)) = line.split_once(':') else { return };
        let value = value.trim();
        match name {
            "Filename" => self.filename = Some(value.strip_prefix("./").unwrap_or(value).to_owned()),
            "Version" => self.version = Some(value.to_owned()),
            "SHA256" => self.sha256 = value.parse().ok(),
            "Size" => self.size = value.parse().ok(),
            _ => {}
        }
    }

    fn entries<'a>(&self, roots: &'a [String], wanted: &'a Wanted) -> Vec<Entry> {
        let (Some(name), Some(sha256), Some(size)) = (&self.filename, self.sha256, self.size) else {
            return Vec::new();
        };
        let versioned = self.version.as_deref().is_some_and(|version| names(name, version));
        let found = roots.iter().filter_map(|root| wanted.get(&format!("{root}/{name}"))).flatten();
        found.map(|answer| Entry { answer: *answer, sha256, size, versioned }).collect()
    }
}

/// Whether a file's name holds a version, `<package>_<version>_<architecture>.deb`, with or without its epoch.
fn names(path: &str, version: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let short = version.split_once(':').map_or(version, |(_, rest)| rest);
    name.split('_').nth(1).is_some_and(|said| {
        said == short || said.to_lowercase().replace("%3a", ":") == version.to_lowercase()
    })
}

fn stanzas(input: impl Read, roots: &[String], wanted: &Wanted) -> Result<Vec<Entry>, String> {
    let mut input = BufReader::with_capacity(64 << 10, input.take(LONGEST_UNPACKED + 1));
    let (mut all, mut stanza, mut line, mut bytes) = (Vec::new(), Stanza::default(), Vec::new(), 0u64);
    loop {
        let read =
            next_line(&mut input, &mut line).map_err(|e| format!("it cannot be unpacked: {}", e.kind()))?;
        bytes += read;
        if bytes > LONGEST_UNPACKED {
            return Err(format!("it has more than {LONGEST_UNPACKED} bytes"));
        }
        if read == 0 || line.is_empty() {
            all.extend(std::mem::take(&mut stanza).entries(roots, wanted));
            if read == 0 {
                return Ok(all);
            }
            continue;
        }
        // A line that goes on has white space before it.
        if let Ok(text) = std::str::from_utf8(&line)
            && !text.starts_with([' ', '\t'])
        {
            stanza.take(text);
        }
    }
}

/// The next line without its end; of a longer one its beginning. How many bytes were read: none at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let mut read = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(read);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (piece, _) = buffer.split_at(end.unwrap_or(buffer.len()));
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        let used = piece.len() + usize::from(end.is_some());
        read += used as u64;
        input.consume(used);
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file.reopen().unwrap()
    }

    fn read_text(text: &str) -> Vec<Entry> {
        let wanted = Wanted::from([("http://a/d/pool/f_1.0_all.deb".to_owned(), vec![7])]);
        read(file(text.as_bytes()), &["http://a/d".to_owned()], &wanted).unwrap()
    }

    #[test]
    fn an_index_says_what_it_lists_whatever_else_it_holds() {
        let sha256 = Sha256::of(b"x");
        let own = format!(
            "Package: f\nVersion: 2:1.0\nFilename: ./pool/f_1.0_all.deb\nSize: 1\nSHA256: {sha256}\n"
        );
        let entry = Entry { answer: 7, sha256, size: 1, versioned: true };
        let long = "x".repeat(1 << 20);
        for text in [
            own.clone(),
            format!("Package: other\nFilename: pool/o_1_all.deb\nSize: 9\nSHA256: {sha256}\n\n{own}\n\n\n"),
            format!("Description: {long}\n more\n Filename: pool/evil\n{own}"),
            own.replace('\n', "\r\n"),
        ] {
            assert_eq!(read_text(&text), [entry], "{:.200}", text);
        }
        for text in
            [String::new(), own.replace("Size", "Sise"), own.replace("/f_", "/g_"), format!("\n{long}")]
        {
            assert!(read_text(&text).is_empty(), "{:.200}", text);
        }
        assert!(!read_text(&own.replace("Version: 2:1.0", "Version: 3"))[0].versioned);
    }

    #[test]
    fn a_name_holds_its_version_with_and_without_epoch() {
        assert!(names("pool/f_1.0-1_all.deb", "1.0-1") && names("f_1.0_all.deb", "5:1.0"));
        assert!(names("f_5%3a1.0_all.deb", "5:1.0"));
        assert!(
            !names("f_1.0_all.deb", "1.1") && !names("latest.deb", "1.0") && !names("f_11.0_all.deb", "1.0")
        );
    }

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_not_whole_says_so() {
        let text = b"Filename: pool/f_1.0_all.deb\n";
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text).unwrap();
        let gz = gz.finish().unwrap();
        let read = |bytes: &[u8]| read(file(bytes), &[], &Wanted::new());
        assert!(read(&gz).is_ok());
        assert!(read(&gz[..gz.len() - 9]).unwrap_err().contains("cannot be unpacked"));
        assert!(read(b"\xFD7zXZ\0broken").unwrap_err().contains("cannot be unpacked"));
        assert!(read(b"BZh91AY").unwrap_err().contains("bzip2"));
    }
}
