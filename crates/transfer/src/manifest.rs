//! The manifest: JSON lines, each in its one canonical spelling, and the closure over them.
//!
//! The index that is kept in memory costs 48 bytes a blob and 32 a mention: a million blobs fit into
//! a hundred megabytes.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
};

use cofferdam_delta::Recipe;
use cofferdam_trust::Envelope;
use cofferdam_types::{
    Sha256, Sha256Hasher,
    merkle::{Roller, leaf},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    header::{Base, Header, Items, Suite, Totals},
    limits::{
        MAX_BLOBS, MAX_FILES, MAX_LINE_BYTES, MAX_PACK_BYTES, MAX_PACK_RAW, MAX_PACKS, MAX_RECIPE_BYTES,
    },
    refusal::Refusal,
};

/// One line of the manifest: descriptions first, then `requires`, `recipe`, and the bytes (`pack` and
/// `blob`, or `file`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Record {
    /// A repository that artifacts belong to.
    Repository {
        /// Its name; once in a transfer.
        name: String,
        /// Its package format.
        format: String,
        /// What sort of repository the caller calls it.
        role: String,
    },
    /// Something published: opaque here.
    Artifact {
        /// What the caller wants to know about it.
        value: Value,
        /// Every blob it needs.
        blobs: Vec<Sha256>,
    },
    /// A git project.
    Git {
        /// Its name; once in a transfer.
        project: String,
        /// Full reference name to object id.
        refs: BTreeMap<String, String>,
        /// The bundle.
        bundle: Sha256,
    },
    /// A signed statement, carried as it is and not verified here.
    Statement {
        /// The envelope.
        envelope: Envelope,
    },
    /// A blob that the receiver is assumed to hold.
    Requires {
        /// Its identity.
        sha256: Sha256,
        /// Its length in bytes.
        size: u64,
    },
    /// A blob that is rebuilt from one that the receiver holds.
    Recipe(RecipeLine),
    /// A pack, by its place in the payload.
    Pack {
        /// First byte in the payload.
        offset: u64,
        /// Length in the payload, bytes.
        len: u64,
        /// Length after `age -d` and `zstd -d`, bytes.
        raw: u64,
    },
    /// A blob that is carried in the pack, or the packs, named just before.
    Blob {
        /// Its identity.
        sha256: Sha256,
        /// Its length in bytes.
        size: u64,
    },
    /// A blob that is carried as a flat file.
    File {
        /// Its name in the folder `files`.
        name: String,
        /// Its identity.
        sha256: Sha256,
        /// Its length in bytes.
        size: u64,
    },
}

/// How one blob is rebuilt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeLine {
    /// Identity of the result.
    pub sha256: Sha256,
    /// Length of the result, bytes.
    pub size: u64,
    /// The required blob it is rebuilt from.
    pub base: Sha256,
    /// The carried blob that the recipe reads.
    pub payload: Sha256,
    /// What to do.
    pub recipe: Recipe,
}

/// A carried blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobEntry {
    /// Its identity.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
    /// The first pack that holds it, or its flat file, from 0.
    pub at: u32,
}

/// A pack's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackEntry {
    /// First byte in the payload.
    pub offset: u64,
    /// Length in the payload.
    pub len: u32,
    /// Length unpacked.
    pub raw: u32,
}

/// What is kept of a manifest in memory.
#[derive(Debug, Default)]
pub struct Index {
    pub blobs: Vec<BlobEntry>,
    pub packs: Vec<PackEntry>,
    pub names: Vec<String>,
    pub required: Vec<(Sha256, u64)>,
    pub recipes: Vec<RecipeLine>,
    pub totals: Totals,
    pub base: Roller,
    pub items: Roller,
    pub item_bytes: u64,
    wanted: Vec<Sha256>,
    seen: Vec<[u8; 16]>,
    recipe_bytes: usize,
    stage: u8,
    group: Group,
}

/// Packs whose blobs have not all come yet.
#[derive(Debug, Default)]
struct Group {
    first: u32,
    packs: u32,
    raw: u64,
    filled: u64,
    blobs: u32,
}

impl Record {
    /// The line without its newline.
    pub(crate) fn line(&self) -> Result<String, Refusal> {
        serde_json::to_string(self).map_err(|e| bad(format!("a record cannot be written: {e}")))
    }

    pub(crate) fn parse(line: &str) -> Result<Self, Refusal> {
        let record: Self =
            serde_json::from_str(line).map_err(|e| bad(format!("a line is no known record: {e}")))?;
        // One spelling only: repeated keys, spaces and odd escapes die here.
        if record.line()? != line {
            return Err(bad("a line is not in its canonical spelling"));
        }
        Ok(record)
    }

    const fn stage(&self) -> u8 {
        match self {
            Self::Requires { .. } => 1,
            Self::Recipe(_) => 2,
            Self::Pack { .. } | Self::Blob { .. } | Self::File { .. } => 3,
            _ => 0,
        }
    }
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::invalid("bad-manifest", message).at("the manifest")
}

impl Index {
    /// Takes the next record; order and places are checked as it comes, the rest by [`Index::close`].
    pub fn take(&mut self, record: Record) -> Result<(), Refusal> {
        let stage = record.stage();
        if stage < self.stage {
            return Err(bad("its lines are not in the order of the specification"));
        }
        self.stage = stage;
        if stage == 0 {
            return self.describe(&record);
        }
        if self.blobs.len() + self.required.len() + self.recipes.len() >= MAX_BLOBS as usize {
            return Err(Refusal::too_large(format!("the manifest names more than {MAX_BLOBS} blobs")));
        }
        match record {
            Record::Requires { sha256, size } => self.require(sha256, size),
            Record::Recipe(line) => self.recipe(line),
            Record::Pack { offset, len, raw } => self.pack(offset, len, raw),
            Record::Blob { sha256, size } => self.blob(sha256, size),
            Record::File { .. } => self.file(&record),
            _ => Ok(()),
        }
    }

    fn describe(&mut self, record: &Record) -> Result<(), Refusal> {
        let identity = match record {
            Record::Repository { name, .. } => format!("repository\n{name}"),
            Record::Git { project, .. } => format!("git\n{project}"),
            other => other.line()?,
        };
        self.see(&identity);
        match record {
            Record::Artifact { blobs, .. } => self.wanted.extend(blobs),
            Record::Git { bundle, .. } => self.wanted.push(*bundle),
            _ => {}
        }
        // Packages share blobs: what is named often is kept once.
        if self.wanted.len() == self.wanted.capacity() {
            self.wanted.sort_unstable();
            self.wanted.dedup();
            // Nearly full again, it would be sorted with every record.
            if self.wanted.len() > self.wanted.capacity() / 2 {
                self.wanted.reserve(self.wanted.capacity());
            }
        }
        Ok(())
    }

    /// Remembers what must come once only.
    fn see(&mut self, identity: &str) {
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::of(identity.as_bytes()).0[..16]);
        self.seen.push(short);
    }

    fn require(&mut self, sha256: Sha256, size: u64) -> Result<(), Refusal> {
        if self.required.last().is_some_and(|last| last.0 >= sha256) {
            return Err(bad("its `requires` lines are not in ascending order"));
        }
        self.base.push(leaf(Record::Requires { sha256, size }.line()?.as_bytes()));
        self.required.push((sha256, size));
        Ok(())
    }

    fn recipe(&mut self, line: RecipeLine) -> Result<(), Refusal> {
        if self.recipes.last().is_some_and(|last| last.sha256 >= line.sha256) {
            return Err(bad("its `recipe` lines are not in ascending order"));
        }
        if line.recipe.declared_output() != line.size {
            return Err(bad(format!("the recipe of blob {} makes another size", line.sha256)));
        }
        self.recipe_bytes += serde_json::to_string(&line.recipe).map_or(usize::MAX / 2, |text| text.len());
        if self.recipe_bytes > MAX_RECIPE_BYTES {
            return Err(Refusal::too_large(format!("its recipes have more than {MAX_RECIPE_BYTES} bytes")));
        }
        self.totals.rebuilt += 1;
        self.totals.rebuilt_bytes = add(self.totals.rebuilt_bytes, line.size)?;
        self.recipes.push(line);
        Ok(())
    }

    fn pack(&mut self, offset: u64, len: u64, raw: u64) -> Result<(), Refusal> {
        let due = self.packs.last().map_or(0, |last| last.offset + u64::from(last.len));
        let fits = offset == due && len > 0 && len <= MAX_PACK_BYTES && raw <= MAX_PACK_RAW as u64;
        let number = u32::try_from(self.packs.len()).map_err(|_| bad("it has too many packs"))?;
        if !fits || u64::from(number) >= MAX_PACKS || !self.names.is_empty() {
            return Err(bad(format!("pack {} does not follow the one before it", number + 1)));
        }
        let group = &mut self.group;
        if group.blobs > 0 {
            self.end_group()?;
        } else if group.packs > 0
            && (raw == 0 || self.packs.last().is_some_and(|p| p.raw as usize != MAX_PACK_RAW))
        {
            return Err(bad(format!("pack {} cannot continue the one before it", number + 1)));
        }
        let group = &mut self.group;
        if group.packs == 0 {
            group.first = number;
        }
        group.packs += 1;
        group.raw += raw;
        let entry = |n: u64| u32::try_from(n).map_err(|_| bad("a pack is too long"));
        self.packs.push(PackEntry { offset, len: entry(len)?, raw: entry(raw)? });
        Ok(())
    }

    fn blob(&mut self, sha256: Sha256, size: u64) -> Result<(), Refusal> {
        let group = &mut self.group;
        let chain = group.packs > 1;
        group.filled = add(group.filled, size)?;
        group.blobs += 1;
        if group.packs == 0 || group.filled > group.raw || (chain && (group.blobs > 1 || size != group.raw)) {
            return Err(bad(format!("blob {sha256} does not fit into the packs before it")));
        }
        let at = group.first;
        self.carried(BlobEntry { sha256, size, at })
    }

    fn file(&mut self, record: &Record) -> Result<(), Refusal> {
        let Record::File { name, sha256, size } = record else { return Ok(()) };
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        if !self.packs.is_empty() || u64::from(number) >= MAX_FILES {
            return Err(bad("it has packs and files, or too many files"));
        }
        if !crate::door::is_flat_name(name) || self.names.last().is_some_and(|last| last >= name) {
            return Err(bad(format!("the file name `{}` is not allowed here", name.escape_debug())));
        }
        self.items.push(leaf(record.line()?.as_bytes()));
        // Some file systems would take two such names for one.
        self.see(&format!("file\n{}", name.to_ascii_lowercase()));
        self.item_bytes = add(self.item_bytes, *size)?;
        self.names.push(name.clone());
        self.carried(BlobEntry { sha256: *sha256, size: *size, at: number })
    }

    fn carried(&mut self, entry: BlobEntry) -> Result<(), Refusal> {
        self.totals.blobs += 1;
        self.totals.expanded_bytes = add(self.totals.expanded_bytes, entry.size)?;
        self.blobs.push(entry);
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), Refusal> {
        let group = std::mem::take(&mut self.group);
        if group.filled != group.raw || (group.packs > 0 && group.blobs == 0) {
            return Err(bad("the blobs of a pack do not fill it"));
        }
        Ok(())
    }

    /// After the last record: all that is needed is there once, and nothing else is.
    pub fn close(&mut self) -> Result<(), Refusal> {
        self.end_group()?;
        let not_closed = |text: String| Refusal::invalid("not-closed", text).at("the manifest");
        self.seen.sort_unstable();
        if self.seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(bad("the same thing is described twice, or two names differ in case only"));
        }
        self.seen = Vec::new();
        // A base and a payload are needed by their recipe.
        let (recipes, wanted) = (&self.recipes, &mut self.wanted);
        wanted.extend(recipes.iter().flat_map(|r| [r.base, r.payload]));
        wanted.sort_unstable();
        wanted.dedup();
        let mut here: Vec<Sha256> = Vec::new();
        here.reserve_exact(self.blobs.len() + self.required.len() + self.recipes.len());
        here.extend(self.blobs.iter().map(|b| b.sha256));
        here.extend(self.required.iter().map(|r| r.0));
        here.extend(self.recipes.iter().map(|r| r.sha256));
        here.sort_unstable();
        if let Some(pair) = here.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(bad(format!("blob {} is listed twice", pair[0])));
        }
        if let Some(missing) = self.wanted.iter().find(|d| here.binary_search(d).is_err()) {
            return Err(not_closed(format!("blob {missing} is needed and not there")));
        }
        if let Some(extra) = here.iter().find(|d| self.wanted.binary_search(d).is_err()) {
            return Err(not_closed(format!("nothing needs blob {extra}")));
        }
        self.wanted = Vec::new();
        let mut carried: Vec<Sha256> = Vec::new();
        if !self.recipes.is_empty() {
            carried.extend(self.blobs.iter().map(|b| b.sha256));
            carried.sort_unstable();
        }
        for recipe in &self.recipes {
            // What a recipe reads is never the result of another one.
            if carried.binary_search(&recipe.payload).is_err() {
                return Err(not_closed(format!(
                    "the recipe of {} reads a blob that is not carried",
                    recipe.sha256
                )));
            }
            if self.required.binary_search_by(|r| r.0.cmp(&recipe.base)).is_err() {
                return Err(not_closed(format!(
                    "the recipe of {} builds on a blob that is not required",
                    recipe.sha256
                )));
            }
        }
        Ok(())
    }

    /// The Merkle root over what is required, for the header.
    pub fn base(&self) -> Option<Base> {
        (!self.required.is_empty()).then(|| Base { root: self.base.root(), count: self.base.size() })
    }

    /// The Merkle root over the flat files, for the header.
    pub fn items(&self, suite: Suite) -> Option<Items> {
        let (root, count, bytes) = (self.items.root(), self.items.size(), self.item_bytes);
        (suite == Suite::Inspectable).then_some(Items { root, count, bytes })
    }

    /// Refuses a manifest that is not exactly what its header says.
    pub fn agrees(&self, header: &Header) -> Result<(), Refusal> {
        let end = self.packs.last().map_or(0, |last| last.offset + u64::from(last.len));
        let payload = (end, self.packs.len() as u64) == (header.payload.size, header.payload.packs);
        if !payload || self.totals != header.totals {
            return Err(bad("its totals are not those of the header"));
        }
        if header.suite == Suite::Sealed && !self.names.is_empty() {
            return Err(bad("a sealed transfer has no flat files"));
        }
        if self.base() != header.base || self.items(header.suite) != header.items {
            return Err(bad("its Merkle roots are not those of the header"));
        }
        Ok(())
    }

    /// Ceilings while it grows.
    pub fn within(&self, totals: &Totals) -> bool {
        self.totals.blobs <= totals.blobs
            && self.totals.expanded_bytes <= totals.expanded_bytes
            && self.totals.rebuilt <= totals.rebuilt
            && self.totals.rebuilt_bytes <= totals.rebuilt_bytes
    }
}

fn add(sum: u64, more: u64) -> Result<u64, Refusal> {
    sum.checked_add(more).ok_or_else(|| bad("sizes overflow"))
}

/// Reads all lines, with the header's ceilings enforced while unpacking.
pub fn read(
    lines: impl Read,
    header: &Header,
    each: &mut dyn FnMut(Record) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let damaged = |e: std::io::Error| bad(format!("it cannot be read: {e}"));
    let limit = header.manifest.plain_size;
    let mut input = BufReader::with_capacity(1 << 16, lines.take(limit.saturating_add(1)));
    let (mut hasher, mut total, mut line) = (Sha256Hasher::default(), 0u64, Vec::new());
    loop {
        line.clear();
        let n = (&mut input).take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line).map_err(damaged)?;
        if n == 0 {
            break;
        }
        total += n as u64;
        if total > limit || n > MAX_LINE_BYTES {
            let text = "the manifest unpacks to more than its header or a line's limit allows";
            return Err(Refusal::too_large(text).at("the manifest"));
        }
        hasher.update(&line);
        let text = line.strip_suffix(b"\n").ok_or_else(|| bad("its last line has no end"))?;
        let text = std::str::from_utf8(text).map_err(|_| bad("a line is not UTF-8"))?;
        each(Record::parse(text)?)?;
    }
    if total != limit || hasher.finish() != header.manifest.plain_sha256 {
        return Err(
            Refusal::failed("digest-mismatch", "its lines are not those that were signed").at("the manifest")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(n: u8) -> String {
        Sha256([n; 32]).to_hex()
    }

    fn needs(blobs: &[u8]) -> Value {
        let blobs: Vec<String> = blobs.iter().map(|n| digest(*n)).collect();
        json!({"kind": "artifact", "value": 1, "blobs": blobs})
    }

    fn blob(n: u8, size: u64) -> Value {
        json!({"kind": "blob", "sha256": digest(n), "size": size})
    }

    fn file(name: &str, n: u8) -> Value {
        json!({"kind": "file", "name": name, "sha256": digest(n), "size": 1})
    }

    fn pack(offset: u64, raw: usize) -> Value {
        json!({"kind": "pack", "offset": offset, "len": 300, "raw": raw})
    }

    fn requires(n: u8) -> Value {
        json!({"kind": "requires", "sha256": digest(n), "size": 1})
    }

    fn index(lines: &[Value]) -> Result<Index, Refusal> {
        let mut index = Index::default();
        lines.iter().try_for_each(|line| index.take(Record::parse(&line.to_string())?))?;
        index.close().map(|()| index)
    }

    fn code(lines: &[Value]) -> &'static str {
        index(lines).err().map_or("taken", |refusal| refusal.code)
    }

    #[test]
    fn two_files_whose_names_differ_in_case_only_are_refused() {
        assert_eq!(code(&[needs(&[1, 2]), file("B.txt", 1), file("a.txt", 2)]), "taken");
        assert_eq!(
            code(&[needs(&[1, 2, 3]), file("A.txt", 1), file("a.tx", 3), file("a.txt", 2)]),
            "bad-manifest"
        );
    }

    #[test]
    fn a_chain_does_not_end_with_an_empty_pack() {
        let whole = MAX_PACK_RAW as u64;
        let chain =
            |last: usize| [needs(&[1]), pack(0, MAX_PACK_RAW), pack(300, last), blob(1, whole + last as u64)];
        assert_eq!(code(&chain(1)), "taken");
        assert_eq!(code(&chain(0)), "bad-manifest");
        assert_eq!(code(&[needs(&[1]), pack(0, 0), blob(1, 0)]), "taken");
    }

    #[test]
    fn a_recipe_reads_a_carried_blob_and_a_held_one() {
        let recipe = |n: u8, payload: u8| {
            let line = json!({"sha256": digest(n), "size": 0, "base": digest(1), "payload": digest(payload),
                "recipe": {"v": 1, "base": 1, "output": 0, "program": {"len": 0, "size": 0}}});
            Record::Recipe(serde_json::from_value(line).unwrap())
        };
        let closes = |recipes: &[Record]| {
            let mut index = Index::default();
            let lines = [needs(&[3, 4]), requires(1)].map(|line| Record::parse(&line.to_string()).unwrap());
            let rest = [pack(0, 1), blob(5, 1)].map(|line| Record::parse(&line.to_string()).unwrap());
            for record in lines.iter().chain(recipes).chain(&rest) {
                index.take(record.clone()).unwrap();
            }
            index.close().err().map_or("taken", |refusal| refusal.code)
        };
        assert_eq!(closes(&[recipe(3, 5), recipe(4, 5)]), "taken");
        assert_eq!(closes(&[recipe(3, 5), recipe(4, 1)]), "not-closed", "a held blob is no payload");
        assert_eq!(closes(&[recipe(3, 5), recipe(4, 3)]), "not-closed", "a result is no payload");
    }

    #[test]
    fn what_is_wanted_is_sorted_seldom() {
        let mut index = Index::default();
        let take = |index: &mut Index, blob: &[u8]| {
            let before = index.wanted.len();
            index.take(Record::Artifact { value: Value::Null, blobs: vec![Sha256::of(blob)] }).unwrap();
            usize::from(index.wanted.len() <= before)
        };
        take(&mut index, b"shared");
        for n in 0..600u32 {
            take(&mut index, &n.to_le_bytes());
        }
        for n in 600u32.. {
            if index.wanted.len() + 1 == index.wanted.capacity() {
                break;
            }
            take(&mut index, &n.to_le_bytes());
        }
        let sorted: usize = (0..500).map(|_| take(&mut index, b"shared")).sum();
        assert_eq!(sorted, 1);
    }

    #[test]
    fn numbers_read_back_exactly() {
        for number in
            ["0.1", "5e-324", "2.2250738585072014e-308", "9007199254740993.0", "1.7976931348623157e308"]
        {
            let line = format!("{{\"kind\":\"artifact\",\"value\":{number},\"blobs\":[]}}");
            let exact: f64 = number.parse().unwrap();
            let Record::Artifact { value, .. } = serde_json::from_str(&line).unwrap() else {
                panic!("{line}")
            };
            assert_eq!(value.as_f64().map(f64::to_bits), Some(exact.to_bits()), "{number}");
        }
        // Many of them, spelled as we spell them.
        let mut x = 0x2545_F491_4F6C_DD1Du64;
        for _ in 0..20_000 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            let number = f64::from_bits(x);
            if number.is_finite() {
                let line = json!({"kind": "artifact", "value": number, "blobs": []}).to_string();
                Record::parse(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
            }
        }
    }

    #[test]
    fn values_nest_only_so_deep() {
        let nested = |n: usize| {
            let line = format!(
                "{{\"kind\":\"artifact\",\"value\":{}{},\"blobs\":[]}}",
                "[".repeat(n),
                "]".repeat(n)
            );
            Record::parse(&line).is_ok()
        };
        assert!(nested(126) && !nested(127));
    }
}
