//! The shape of a recipe and of the program that it carries in its payload.
//!
//! Never trusts a number of it: sums are checked, ranges are checked where they are used.

use std::ops::Range;

use cofferdam_types::{Error, Result};
use serde::{Deserialize, Serialize};

/// The only version so far.
pub(crate) const VERSION: u32 = 1;
/// Bytes of a program's JSON at most.
pub(crate) const MAX_PROGRAM: u64 = 16 << 20;
/// What a parsed program takes, in multiples of its JSON.
pub(crate) const PROGRAM_FACTOR: u64 = 16;
/// `deflate` within `deflate` at most.
pub(crate) const MAX_DEPTH: usize = 3;

/// How to rebuild a blob from a base and a payload. Its JSON is short: the program itself is
/// compressed and begins the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Version of this format.
    pub(crate) v: u32,
    /// Length of the base in bytes.
    pub(crate) base: u64,
    /// Length of the result in bytes.
    pub(crate) output: u64,
    /// The first part of the payload.
    pub(crate) program: Frame,
}

/// The next part of the payload: one zstd frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frame {
    /// Bytes in the payload.
    pub(crate) len: u64,
    /// Bytes when decoded.
    pub(crate) size: u64,
}

/// A part of the output that is rebuilt by itself, so that its memory is given back after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    /// Start and length of the part of the base that this section's prefix is taken from.
    pub(crate) scope: (u64, u64),
    /// DEFLATE streams of the base that are inflated: start, length, plain size.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) views: Vec<(u64, u64, u64)>,
    /// The bytes that no copy gives.
    pub(crate) frame: Frame,
    pub(crate) ops: Vec<Op>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Op {
    /// The next bytes of the frame.
    Data(u64),
    /// Bytes of the base or a view: how far from the end of the last copy, and how many.
    Copy(i64, u64),
    /// What the steps give, encoded.
    Deflate(Deflate),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deflate {
    /// The encoder's name.
    #[serde(rename = "as")]
    pub(crate) encoder: String,
    pub(crate) ops: Vec<Op>,
}

/// The one error for a recipe that contradicts itself, its base or its payload.
pub(crate) fn bad(why: &str) -> Error {
    Error::invalid("recipe-bad", format!("the recipe cannot be carried out: {why}"))
        .hint("the transfer was made wrongly or changed; have the blob sent whole")
}

impl Recipe {
    /// Length in bytes of the blob that the recipe rebuilds.
    #[must_use]
    pub fn declared_output(&self) -> u64 {
        self.output
    }

    /// The canonical JSON: no spaces, fields in the order of the specification.
    ///
    /// # Errors
    /// `internal`, which does not happen.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::internal("a recipe has no JSON", e))
    }

    /// Reads the canonical JSON.
    ///
    /// # Errors
    /// `recipe-bad` for anything that [`Recipe::to_json`] would not have written.
    pub fn from_json(text: &str) -> Result<Self> {
        let recipe: Self = serde_json::from_str(text).map_err(|_| bad("its text is not a recipe"))?;
        if recipe.to_json()? != text {
            return Err(bad("its text is not in the canonical form"));
        }
        Ok(recipe)
    }
}

/// Where the bytes of copies come from: the base, then the views of the section, one after another.
pub(crate) struct Space<'a> {
    parts: Vec<(u64, &'a [u8])>,
}

impl<'a> Space<'a> {
    pub(crate) fn new(base: &'a [u8], views: &'a [Vec<u8>]) -> Self {
        let mut at = 0;
        let mut parts = Vec::with_capacity(views.len() + 1);
        for part in std::iter::once(base).chain(views.iter().map(Vec::as_slice)) {
            parts.push((at, part));
            at += part.len() as u64;
        }
        Self { parts }
    }

    /// The bytes of a range, which lies within one part.
    pub(crate) fn get(&self, at: u64, len: u64) -> Result<&'a [u8]> {
        let index = self.parts.partition_point(|&(start, _)| start <= at).checked_sub(1);
        let part = index.and_then(|index| self.parts.get(index));
        part.and_then(|&(start, bytes)| {
            let from = usize::try_from(at - start).ok()?;
            let to = from.checked_add(usize::try_from(len).ok()?)?;
            bytes.get(from..to)
        })
        .ok_or_else(|| bad("it copies from outside the base"))
    }
}

/// The end of a copy that starts `skip` after `cursor`: where it starts and ends.
pub(crate) fn advance(cursor: u64, skip: i64, len: u64) -> Result<Range<u64>> {
    let start = cursor.checked_add_signed(skip);
    let end = start.and_then(|start| start.checked_add(len));
    match (start, end) {
        (Some(start), Some(end)) => Ok(start..end),
        _ => Err(bad("it copies from outside the base")),
    }
}

/// Every range that the steps copy, in their order; checks depth, encoders and sums on the way.
pub(crate) fn copies(ops: &[Op], depth: usize, cursor: &mut u64, into: &mut Vec<Range<u64>>) -> Result<u64> {
    let mut data = 0_u64;
    for op in ops {
        let more = match op {
            Op::Data(len) => *len,
            Op::Copy(skip, len) => {
                let range = advance(*cursor, *skip, *len)?;
                *cursor = range.end;
                into.push(range);
                0
            }
            Op::Deflate(_) if depth >= MAX_DEPTH => return Err(bad("it nests too deeply")),
            Op::Deflate(deflate) => {
                crate::encoder::Encoder::named(&deflate.encoder)?;
                copies(&deflate.ops, depth + 1, cursor, into)?
            }
        };
        data = data.checked_add(more).ok_or_else(|| bad("its lengths overflow"))?;
    }
    Ok(data)
}

/// The ranges of a section's prefix: its scope without what is copied and without the streams that
/// are inflated, then the views without what is copied.
pub(crate) fn prefix_ranges(section: &Section, base: u64, copied: &[Range<u64>]) -> Result<Vec<Range<u64>>> {
    let (start, len) = section.scope;
    let end = start.checked_add(len).filter(|&end| end <= base);
    let end = end.ok_or_else(|| bad("its scope is outside the base"))?;
    let mut taken = copied.to_vec();
    let mut all = base;
    for &(at, len, size) in &section.views {
        let until = at.checked_add(len).filter(|&until| until <= base);
        taken.push(at..until.ok_or_else(|| bad("a view is outside the base"))?);
        all = all.checked_add(size).ok_or_else(|| bad("its views overflow"))?;
    }
    taken.sort_unstable_by_key(|range| range.start);
    let mut taken = taken.into_iter().peekable();
    let mut free = Vec::new();
    // Up to where everything before is dealt with; all ranges come in ascending order.
    let mut at = 0_u64;
    let mut border = base;
    let views = section.views.iter().map(|&(_, _, size)| {
        // Cannot overflow: the sum was made above.
        let start = border;
        border += size;
        start..border
    });
    for whole in std::iter::once(start..end).chain(views) {
        at = at.max(whole.start);
        while let Some(range) = taken.next_if(|range| range.start < whole.end) {
            if range.start > at {
                free.push(at..range.start);
            }
            at = at.max(range.end);
        }
        if at < whole.end {
            free.push(at..whole.end);
            at = whole.end;
        }
    }
    Ok(free)
}
