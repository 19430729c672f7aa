//! Making recipes: which streams to compare by their plain text, what to copy, how to cut it into
//! sections, and whether it is worth it.
//!
//! Never offers a recipe that it has not carried out and compared.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use cofferdam_types::{Error, Result};

use crate::archive::{Stream, streams, timeless};
use crate::encoder::{Encoder, Sink};
use crate::inflate::inflate;
use crate::matches::Index;
use crate::patch::{self, Effort};
use crate::recipe::{Deflate, Frame, Op, Recipe, Section, Space, VERSION, bad, copies, prefix_ranges};
use crate::{Level, Limits};

/// Larger files are always sent whole: planning holds several times their size.
const MAX_FILE: usize = 256 << 20;
/// Plain text of a section, old and new, from which on a section is closed.
const SECTION_PLAIN: usize = 32 << 20;
/// Bytes of the target without a changed stream from which on a section is closed.
const SECTION_RAW: usize = 64 << 20;
/// Shortest range that is copied from the base, and from plain text.
const MIN_RAW: usize = 64;
const MIN_PLAIN: usize = 384;

/// A recipe, its payload, and what it uses.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the receiver carries out.
    pub recipe: Recipe,
    /// What has to be carried besides the recipe.
    pub payload: Vec<u8>,
    /// The highest level that the recipe uses.
    pub level: Level,
}

/// Plans how to rebuild `target` from `base`. None when a recipe and its payload would save less
/// than a fifth of the target, when carrying it out would pass `limits`, or when a file is empty or
/// larger than 256 MiB. The recipe has been carried out, and its result compared.
///
/// Holds about three times the two files and, for archives, the plain text of what changed.
///
/// # Errors
/// `internal` when the compressor fails.
pub fn plan(base: &[u8], target: &[u8], up_to: Level, limits: &Limits) -> Result<Option<Plan>> {
    let fits = |file: &[u8]| !file.is_empty() && file.len() <= MAX_FILE;
    if !fits(base) || !fits(target) || target.len() as u64 > limits.output {
        return Ok(None);
    }
    let mut pieces = Vec::new();
    let index = Index::new(base);
    if up_to == Level::Deflate {
        let most = usize::try_from(limits.memory / 3).unwrap_or(usize::MAX);
        pieces = changed_streams(base, target, most);
    }
    if !pieces.is_empty()
        && let Some(plan) = attempt(base, target, &index, &pieces, Level::Deflate, limits)?
    {
        return Ok(Some(plan));
    }
    attempt(base, target, &index, &[], up_to.min(Level::Prefix), limits)
}

/// A changed stream of the target that an encoder repeats.
struct Piece {
    range: Range<usize>,
    encoder: Encoder,
    /// The stream of the base that is most like it.
    old: Option<Stream>,
    size: usize,
    old_size: usize,
}

fn attempt(
    base: &[u8],
    target: &[u8],
    index: &Index<'_>,
    pieces: &[Piece],
    level: Level,
    limits: &Limits,
) -> Result<Option<Plan>> {
    let enough = target.len() - target.len() / 5;
    let mut frames = Vec::new();
    let mut program = Vec::new();
    let mut scope = 0;
    for part in cut(pieces, target.len(), SECTION_RAW, SECTION_PLAIN) {
        let section = Draft { base, target, index, level }.section(part, &mut scope)?;
        frames.extend_from_slice(&section.1);
        program.push(section.0);
        if frames.len() >= enough {
            return Ok(None);
        }
    }
    let text = serde_json::to_vec(&program).map_err(|e| Error::internal("a recipe has no JSON", e))?;
    let mut payload = patch::encode(&[], &text, Effort::Strong)?;
    let recipe = Recipe {
        v: VERSION,
        base: base.len() as u64,
        output: target.len() as u64,
        program: Frame { len: payload.len() as u64, size: text.len() as u64 },
    };
    payload.append(&mut frames);
    if payload.len() + recipe.to_json()?.len() > enough {
        return Ok(None);
    }
    let mut compare = Compare { expected: target };
    let done = recipe.execute(base, &payload, limits, &mut compare);
    let right = done.is_ok() && compare.expected.is_empty();
    Ok(right.then_some(Plan { recipe, payload, level }))
}

/// Takes only what is expected.
struct Compare<'a> {
    expected: &'a [u8],
}

impl Compare<'_> {
    /// Are these the next bytes? If so they are taken.
    fn takes(&mut self, bytes: &[u8]) -> bool {
        let rest = self.expected.strip_prefix(bytes);
        self.expected = rest.unwrap_or(self.expected);
        rest.is_some()
    }
}

impl std::io::Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.takes(bytes) { Ok(bytes.len()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink for &mut Compare<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        if self.takes(bytes) { Ok(()) } else { Err(bad("the encoder is another")) }
    }

    fn work(&mut self, _units: u64) -> Result<()> {
        Ok(())
    }
}

/// The streams of the target that the base has not, each with an encoder and its counterpart.
fn changed_streams(base: &[u8], target: &[u8], most: usize) -> Vec<Piece> {
    let old = streams(base, most);
    let bytes_of = |stream: &Stream| base.get(stream.range.clone()).unwrap_or(&[]);
    let held: HashSet<&[u8]> = old.iter().map(bytes_of).collect();
    let by_name: HashMap<&[u8], &Stream> =
        old.iter().map(|stream| (stream.name.as_slice(), stream)).collect();
    let by_shape: HashMap<Vec<u8>, &Stream> =
        old.iter().map(|stream| (timeless(&stream.name), stream)).collect();
    let mut recent: Vec<Encoder> = Encoder::candidates().collect();
    let mut pieces = Vec::new();
    for stream in streams(target, most) {
        let Some(bytes) = target.get(stream.range.clone()).filter(|bytes| !held.contains(bytes)) else {
            continue;
        };
        let Some((plain, used)) = inflate(bytes, stream.most) else { continue };
        if used != bytes.len() {
            continue;
        }
        let Some(place) = recent.iter().position(|&encoder| repeats(encoder, &plain, bytes)) else {
            continue;
        };
        // Within one archive the encoder is nearly always the same.
        let encoder = recent.remove(place);
        recent.insert(0, encoder);
        let old = by_name.get(stream.name.as_slice()).or_else(|| by_shape.get(&timeless(&stream.name)));
        let old = old.and_then(|&old| Some((old.clone(), inflate(bytes_of(old), old.most)?.0.len())));
        let old_size = old.as_ref().map_or(0, |old| old.1);
        pieces.push(Piece {
            range: stream.range,
            encoder,
            old: old.map(|old| old.0),
            size: plain.len(),
            old_size,
        });
    }
    pieces
}

/// Whether an encoder makes exactly this stream. Ends at the first block that differs.
fn repeats(encoder: Encoder, plain: &[u8], stream: &[u8]) -> bool {
    let mut compare = Compare { expected: stream };
    let mut deflate = encoder.start(&mut compare);
    let same = plain.chunks(1 << 16).all(|chunk| deflate.write(chunk).is_ok()) && deflate.finish().is_ok();
    same && compare.expected.is_empty()
}

/// A part of the target and the pieces in it.
struct Part<'a> {
    range: Range<usize>,
    pieces: &'a [Piece],
    last: bool,
}

/// Cuts the target into sections after pieces, or within stretches without one that are longer than `raw`;
/// never within a piece, which lies whole in one section. The pieces are in order and do not overlap.
fn cut(pieces: &[Piece], len: usize, raw: usize, plain: usize) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut first, mut size) = (0, 0, 0);
    // Where the last piece of the open section ends: nothing before may be cut.
    let mut held = 0;
    let mut close = |range: Range<usize>, within: Range<usize>, last: bool| {
        parts.push(Part { range, pieces: pieces.get(within).unwrap_or(&[]), last });
    };
    for (index, piece) in pieces.iter().enumerate() {
        while piece.range.start - start > raw {
            let end = held.max(start + raw);
            close(start..end, first..index, false);
            (start, first, size) = (end, index, 0);
        }
        held = piece.range.end;
        size += piece.size + piece.old_size;
        if size > plain {
            close(start..held, first..index + 1, false);
            (start, first, size) = (held, index + 1, 0);
        }
    }
    while held.max(start + raw) < len {
        let end = held.max(start + raw);
        close(start..end, first..pieces.len(), false);
        (start, first) = (end, pieces.len());
    }
    close(start..len, first..pieces.len(), true);
    parts
}

/// What all sections of a draft share.
struct Draft<'a> {
    base: &'a [u8],
    target: &'a [u8],
    index: &'a Index<'a>,
    level: Level,
}

/// Steps being written, and the bytes that no copy gives.
#[derive(Default)]
struct Steps {
    cursor: u64,
    data: Vec<u8>,
}

impl Steps {
    /// The steps for `new`, whose old bytes begin at `origin` of the space.
    fn write(
        &mut self,
        new: &[u8],
        index: &Index<'_>,
        min: usize,
        origin: &dyn Fn(usize, usize) -> Option<u64>,
    ) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut done = 0;
        for found in index.find(new, min) {
            let Some(at) = origin(found.old, found.new.len()) else { continue };
            self.data(new.get(done..found.new.start), &mut ops);
            let len = found.new.len() as u64;
            ops.push(Op::Copy((at as i64).wrapping_sub(self.cursor as i64), len));
            self.cursor = at + len;
            done = found.new.end;
        }
        self.data(new.get(done..), &mut ops);
        ops
    }

    fn data(&mut self, bytes: Option<&[u8]>, ops: &mut Vec<Op>) {
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            self.data.extend_from_slice(bytes);
            ops.push(Op::Data(bytes.len() as u64));
        }
    }
}

impl Draft<'_> {
    fn section(&self, part: Part<'_>, scope: &mut usize) -> Result<(Section, Vec<u8>)> {
        let missing = || Error::internal("a plan contradicts itself", "a stream is not where it was");
        let base_len = self.base.len() as u64;
        let (mut views, mut starts, mut plains) = (Vec::new(), HashSet::new(), Vec::new());
        let mut end = *scope;
        for old in part.pieces.iter().filter_map(|piece| piece.old.as_ref()) {
            if !starts.insert(old.range.start) {
                continue;
            }
            let stream = self.base.get(old.range.clone()).ok_or_else(missing)?;
            let (plain, used) = inflate(stream, old.most).ok_or_else(missing)?;
            views.push((old.range.start as u64, used as u64, plain.len() as u64));
            plains.push(plain);
            end = end.max(old.range.end);
        }
        let joined = plains.concat();
        let inside = Index::new(&joined);
        let mut steps = Steps::default();
        let mut ops = Vec::new();
        let mut at = part.range.start;
        let raw = |old: usize, _: usize| Some(old as u64);
        let borders: Vec<usize> = plains
            .iter()
            .scan(0, |sum, plain| {
                *sum += plain.len();
                Some(*sum)
            })
            .collect();
        // A range over the border of two views cannot be copied in one step; it is rare and is sent.
        let plain_origin = |old: usize, len: usize| {
            let border = borders.get(borders.partition_point(|&border| border <= old))?;
            (old + len <= *border).then_some(base_len + old as u64)
        };
        for piece in part.pieces {
            let before = self.target.get(at..piece.range.start).ok_or_else(missing)?;
            ops.extend(steps.write(before, self.index, MIN_RAW, &raw));
            let stream = self.target.get(piece.range.clone()).ok_or_else(missing)?;
            let (plain, _) = inflate(stream, piece.size).ok_or_else(missing)?;
            let inner = steps.write(&plain, &inside, MIN_PLAIN, &plain_origin);
            ops.push(Op::Deflate(Deflate { encoder: piece.encoder.name(), ops: inner }));
            at = piece.range.end;
        }
        let after = self.target.get(at..part.range.end).ok_or_else(missing)?;
        ops.extend(steps.write(after, self.index, MIN_RAW, &raw));
        if part.last || part.pieces.is_empty() {
            end = self.base.len();
        }
        let scope_len = if self.level == Level::Copy { 0 } else { end - *scope };
        let mut section = Section {
            scope: (*scope as u64, scope_len as u64),
            views,
            frame: Frame { len: 0, size: steps.data.len() as u64 },
            ops,
        };
        *scope = if part.pieces.is_empty() { *scope } else { end };
        let mut copied = Vec::new();
        copies(&section.ops, 0, &mut 0, &mut copied)?;
        let space = Space::new(self.base, &plains);
        let mut prefix = Vec::new();
        for range in prefix_ranges(&section, base_len, &copied)? {
            prefix.extend_from_slice(space.get(range.start, range.end - range.start)?);
        }
        let effort = if self.level == Level::Deflate { Effort::Strong } else { Effort::Quick };
        let frame = patch::encode(&prefix, &steps.data, effort)?;
        section.frame.len = frame.len() as u64;
        Ok((section, frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces at these ranges, each with so many bytes of plain text.
    fn pieces(of: &[(Range<usize>, usize)]) -> Vec<Piece> {
        let encoder = Encoder::named("zlib-6-8").unwrap();
        let one = |(range, size): &(Range<usize>, usize)| Piece {
            range: range.clone(),
            encoder,
            old: None,
            size: *size,
            old_size: 0,
        };
        of.iter().map(one).collect()
    }

    /// Range of each part, and how many pieces lie in it. Checks what holds for every cut.
    fn cut_at(of: &[(Range<usize>, usize)], len: usize) -> Vec<(Range<usize>, usize)> {
        let pieces = pieces(of);
        let parts = cut(&pieces, len, 64, 32);
        let (mut at, mut count) = (0, 0);
        for (n, part) in parts.iter().enumerate() {
            assert_eq!((part.range.start, part.last), (at, n + 1 == parts.len()));
            let inside =
                |piece: &Piece| part.range.start <= piece.range.start && piece.range.end <= part.range.end;
            assert!(part.pieces.iter().all(inside), "{of:?}: a piece is cut in two");
            (at, count) = (part.range.end, count + part.pieces.len());
        }
        assert_eq!((at, count), (len, of.len()), "every byte and every piece lies in one part");
        parts.iter().map(|part| (part.range.clone(), part.pieces.len())).collect()
    }

    #[test]
    fn a_piece_over_the_border_of_a_section_stays_whole() {
        // In units of MiB: what was reported, at the end and before another piece.
        assert_eq!(cut_at(&[(62..66, 1)], 80), [(0..66, 1), (66..80, 0)]);
        assert_eq!(cut_at(&[(62..66, 1), (70..71, 1)], 80), [(0..66, 1), (66..80, 1)]);
        assert_eq!(cut_at(&[(62..80, 1)], 80), [(0..80, 1)]);
        assert_eq!(cut_at(&[(10..150, 1)], 300), [(0..150, 1), (150..214, 0), (214..278, 0), (278..300, 0)]);
        assert_eq!(cut_at(&[(10..150, 33)], 160), [(0..150, 1), (150..160, 0)]);
    }

    #[test]
    fn long_stretches_and_much_plain_text_are_cut() {
        assert_eq!(cut_at(&[], 10), [(0..10, 0)]);
        assert_eq!(cut_at(&[], 64), [(0..64, 0)]);
        assert_eq!(cut_at(&[], 130), [(0..64, 0), (64..128, 0), (128..130, 0)]);
        assert_eq!(cut_at(&[(1..2, 20), (3..4, 20), (5..6, 1)], 7), [(0..4, 2), (4..7, 1)]);
        assert_eq!(
            cut_at(&[(0..1, 1), (200..201, 1)], 201),
            [(0..64, 1), (64..128, 0), (128..192, 0), (192..201, 1)]
        );
        for from in 0..80 {
            for len in 1..80 {
                cut_at(&[(from..from + len, 1), (from + len..from + len + 3, 40), (165..166, 1)], 170);
            }
        }
    }
}
