//! Carrying out a recipe.
//!
//! Everything is hostile: the recipe, the payload, and the base too, because a package in it may
//! have been made to be inflated. What is allocated is taken from the budget first.

use std::io::Write;

use cofferdam_types::{Error, Result};

use crate::Limits;
use crate::budget::Budget;
use crate::encoder::{ENCODER_MEMORY, Encoder, Sink};
use crate::inflate::{SPARE, inflate_exact};
use crate::patch;
use crate::recipe::{
    Frame, MAX_PROGRAM, Op, PROGRAM_FACTOR, Recipe, Section, Space, VERSION, advance, bad, copies,
    prefix_ranges,
};

impl Recipe {
    /// Rebuilds the blob from `base` and `payload` into `out`. The caller must compare the SHA-256
    /// of what was written with that of the blob: a base other than the right one gives other bytes
    /// without an error. After an error, what was written is to be discarded.
    ///
    /// Besides `base` and `payload`, it holds at most `limits.memory` bytes.
    ///
    /// # Errors
    /// `recipe-bad`, `recipe-wrong-base`, `recipe-unknown-version`, `recipe-unknown-encoder`,
    /// `recipe-too-large`, `recipe-too-much-work`, and those of writing to `out`.
    pub fn execute(&self, base: &[u8], payload: &[u8], limits: &Limits, out: &mut dyn Write) -> Result<()> {
        if self.v != VERSION {
            return Err(Error::invalid(
                "recipe-unknown-version",
                "the recipe is of a version not known here",
            )
            .hint("import with the version of the site that made the transfer, or a newer one"));
        }
        if base.len() as u64 != self.base {
            return Err(Error::verification(
                "recipe-wrong-base",
                format!("the recipe needs a base of {} bytes, and this one has {}", self.base, base.len()),
            ));
        }
        let mut budget = Budget::new(limits);
        budget.write(self.output)?;
        let mut rest = payload;
        let program = program(self, &mut rest, &mut budget)?;
        let mut target = Target { out, left: self.output, budget };
        for section in &program {
            let frame = take(&mut rest, section.frame)?;
            run(section, base, frame, &mut target)?;
        }
        if target.left != 0 || !rest.is_empty() {
            return Err(bad("it gives less than it says, or leaves a part of its payload"));
        }
        Ok(())
    }
}

/// Work of starting to inflate and to encode, so that many empty streams are not free.
const VIEW_WORK: u64 = 32 << 10;
const ENCODER_WORK: u64 = 256 << 10;

/// The next part of the payload.
fn take<'a>(rest: &mut &'a [u8], frame: Frame) -> Result<&'a [u8]> {
    let parts = usize::try_from(frame.len).ok().and_then(|len| rest.split_at_checked(len));
    let (part, after) = parts.ok_or_else(|| bad("its payload is cut off"))?;
    *rest = after;
    Ok(part)
}

fn size(bytes: u64) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| bad("a length is too great for this machine"))
}

fn program(recipe: &Recipe, rest: &mut &[u8], budget: &mut Budget) -> Result<Vec<Section>> {
    if recipe.program.size > MAX_PROGRAM {
        return Err(bad("its program is too long"));
    }
    budget.hold(recipe.program.size * PROGRAM_FACTOR)?;
    budget.work(recipe.program.size)?;
    let frame = take(rest, recipe.program)?;
    let text = patch::decode(&[], frame, size(recipe.program.size)?)?;
    serde_json::from_slice(&text).map_err(|_| bad("its program cannot be read"))
}

fn run(section: &Section, base: &[u8], frame: &[u8], target: &mut Target<'_>) -> Result<()> {
    let mut copied = Vec::new();
    let data = copies(&section.ops, 0, &mut 0, &mut copied)?;
    if data != section.frame.size {
        return Err(bad("a section does not use its data exactly"));
    }
    let ranges = prefix_ranges(section, base.len() as u64, &copied)?;
    let prefix_len: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let views_len: u64 = section.views.iter().map(|view| view.2).sum();
    let held = views_len
        .saturating_add((SPARE * section.views.len()) as u64)
        .saturating_add(prefix_len)
        .saturating_add(section.frame.size)
        .saturating_add(patch::DECODER_MEMORY);
    target.budget.hold(held)?;
    target.budget.work(views_len.saturating_add(prefix_len).saturating_add(section.frame.size))?;
    let mut views = Vec::with_capacity(section.views.len());
    for &(at, len, plain) in &section.views {
        let stream = Space::new(base, &[]).get(at, len)?;
        target.budget.work(len.saturating_add(VIEW_WORK))?;
        let (view, used) =
            inflate_exact(stream, size(plain)?).ok_or_else(|| bad("a view is not a DEFLATE stream"))?;
        if view.len() as u64 != plain || used != stream.len() {
            return Err(bad("a view has another size than it says"));
        }
        views.push(view);
    }
    let space = Space::new(base, &views);
    let data = {
        let mut prefix = Vec::with_capacity(size(prefix_len)?);
        for range in &ranges {
            prefix.extend_from_slice(space.get(range.start, range.end - range.start)?);
        }
        patch::decode(&prefix, frame, size(section.frame.size)?)?
    };
    let mut source = Source { space, data: &data, cursor: 0 };
    steps(&section.ops, &mut source, target)?;
    target.budget.release(held);
    Ok(())
}

/// Where steps take their bytes from.
struct Source<'a> {
    space: Space<'a>,
    data: &'a [u8],
    cursor: u64,
}

/// Where steps put their bytes: the output, or an encoder before it.
trait Put {
    fn put(&mut self, bytes: &[u8]) -> Result<()>;
    fn budget(&mut self) -> &mut Budget;
}

fn steps(ops: &[Op], source: &mut Source<'_>, to: &mut dyn Put) -> Result<()> {
    for op in ops {
        match op {
            Op::Data(len) => {
                let parts = source.data.split_at_checked(size(*len)?);
                let (now, later) = parts.ok_or_else(|| bad("a section does not use its data exactly"))?;
                source.data = later;
                to.put(now)?;
            }
            Op::Copy(skip, len) => {
                let range = advance(source.cursor, *skip, *len)?;
                let bytes = source.space.get(range.start, *len)?;
                source.cursor = range.end;
                to.put(bytes)?;
            }
            Op::Deflate(deflate) => {
                let encoder = Encoder::named(&deflate.encoder)?;
                to.budget().hold(ENCODER_MEMORY)?;
                to.budget().work(ENCODER_WORK)?;
                let mut inner = Encoding(encoder.start(Through(to)));
                steps(&deflate.ops, source, &mut inner)?;
                inner.0.finish()?;
                to.budget().release(ENCODER_MEMORY);
            }
        }
    }
    Ok(())
}

/// The output.
struct Target<'a> {
    out: &'a mut dyn Write,
    left: u64,
    budget: Budget,
}

impl Put for Target<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u64;
        self.left = self.left.checked_sub(len).ok_or_else(|| bad("it gives more than it says"))?;
        self.budget.work(len)?;
        self.out.write_all(bytes).map_err(|e| Error::io("writing a rebuilt blob", e))
    }

    fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }
}

/// What an encoder gives goes on to where the steps around it put theirs.
struct Through<'a>(&'a mut dyn Put);

impl Sink for Through<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.put(bytes)
    }

    fn work(&mut self, units: u64) -> Result<()> {
        self.0.budget().work(units)
    }
}

struct Encoding<'a>(crate::encoder::Running<Through<'a>>);

impl Put for Encoding<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write(bytes)
    }

    fn budget(&mut self) -> &mut Budget {
        self.0.sink().0.budget()
    }
}
