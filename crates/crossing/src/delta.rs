//! Which blobs travel as recipes: a new file of a package against the file of an adjacent release that the
//! receiver has proved to hold.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Take, Write as _},
    sync::Arc,
};

use cofferdam_delta::{Level, Plan as Made};
use cofferdam_format_kit::Draft;
use cofferdam_store::RepositoryRow;
use cofferdam_transfer::RecipeLine;
use cofferdam_types::{Error, Result, Sha256};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::{
    Crossing, Meter,
    rebuild::{LIMITS, MAX_DELTA},
    receive::blocking,
};

/// Smaller blobs are not worth a recipe, bytes.
const MIN_DELTA: u64 = 8 << 10;

/// How far below whole blobs a transfer goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeltaLevel {
    /// Whole blobs only.
    None,
    /// Ranges of bytes are copied.
    Copy,
    /// The rest is compressed with the base as its dictionary.
    Prefix,
    /// DEFLATE streams are taken apart and made again.
    #[default]
    Deflate,
}

/// One blob that travels as a recipe.
pub(crate) struct Delta {
    pub line: RecipeLine,
    pub base_size: u64,
    /// The payloads of all recipes, in one temporary file, and where this one begins.
    payloads: Arc<File>,
    at: u64,
    size: u64,
}

impl Delta {
    pub fn payload_size(&self) -> u64 {
        self.size
    }

    /// The payload. All share one file and its position: read one to its end before the next is opened.
    pub fn open(&self) -> Result<Take<File>> {
        let open = || -> std::io::Result<Take<File>> {
            let mut file = self.payloads.try_clone()?;
            file.seek(SeekFrom::Start(self.at))?;
            Ok(file.take(self.size))
        };
        open().map_err(|e| Error::io("reading a delta", e))
    }
}

/// A blob and the one it is to be compared with.
struct Pair {
    target: (Sha256, u64),
    base: (Sha256, u64),
}

impl Crossing {
    /// Plans a recipe for every new file that has an adjacent one over there; each was carried out and compared.
    pub(crate) async fn plan_deltas(
        &self,
        releases: &[(RepositoryRow, Draft)],
        new: &BTreeMap<Sha256, u64>,
        stream: &str,
        level: DeltaLevel,
        meter: &Meter,
    ) -> Result<Vec<Delta>> {
        let level = match level {
            DeltaLevel::None => return Ok(Vec::new()),
            DeltaLevel::Copy => Level::Copy,
            DeltaLevel::Prefix => Level::Prefix,
            DeltaLevel::Deflate => Level::Deflate,
        };
        let pairs = self.pairs(releases, new, stream).await?;
        let total = pairs.len() as u64;
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(4);
        let mut made =
            futures::stream::iter(pairs.into_iter().map(|pair| self.make(pair, level))).buffered(threads);
        let keep = |e| Error::io("keeping a delta", e);
        let payloads = Arc::new(tempfile::tempfile().map_err(keep)?);
        let (mut deltas, mut done, mut at) = (Vec::new(), 0, 0);
        while let Some(delta) = made.try_next().await? {
            if let Some((line, base_size, payload)) = delta {
                (&*payloads).write_all(&payload).map_err(keep)?;
                let size = payload.len() as u64;
                deltas.push(Delta { line, base_size, payloads: Arc::clone(&payloads), at, size });
                at += size;
            }
            done += 1;
            meter.at("comparing releases (items)", done, total, 0);
        }
        Ok(deltas)
    }

    async fn pairs(
        &self,
        releases: &[(RepositoryRow, Draft)],
        new: &BTreeMap<Sha256, u64>,
        stream: &str,
    ) -> Result<Vec<Pair>> {
        let mut pairs: BTreeMap<Sha256, Pair> = BTreeMap::new();
        let mut tx = self.db().read().await?;
        let fits = |size: u64| (MIN_DELTA..=MAX_DELTA).contains(&size);
        for (row, draft) in releases {
            let files = draft.files.iter().map(|f| (f, f.digests.sha256, f.digests.size));
            let wanted: Vec<_> =
                files.filter(|(_, sha256, size)| fits(*size) && new.contains_key(sha256)).collect();
            if wanted.is_empty() {
                continue;
            }
            let held = tx.carry().held_releases(stream, &row.name, &draft.package).await?;
            let claims =
                held.into_iter().filter_map(|v| serde_json::from_value::<Draft>(v["draft"].clone()).ok());
            // What travels whole itself is no base, though the receiver may hold it.
            let usable = |f: &cofferdam_format_kit::DraftFile| {
                fits(f.digests.size) && !new.contains_key(&f.digests.sha256)
            };
            let old: Vec<_> = claims.flat_map(|claim| claim.files).filter(usable).collect();
            for (file, sha256, size) in wanted {
                let best = old
                    .iter()
                    .enumerate()
                    .max_by_key(|(age, f)| (likeness(&file.path, &f.path), std::cmp::Reverse(*age)));
                let Some((_, base)) = best.filter(|(_, f)| extension(&f.path) == extension(&file.path))
                else {
                    continue;
                };
                let base = (base.digests.sha256, base.digests.size);
                pairs.entry(sha256).or_insert(Pair { target: (sha256, size), base });
            }
        }
        Ok(pairs.into_values().collect())
    }

    /// The recipe, the length of its base, and its payload; `None` when the whole file is no larger.
    async fn make(&self, pair: Pair, level: Level) -> Result<Option<(RecipeLine, u64, Vec<u8>)>> {
        if self.0.registry.blobs().size(&pair.base.0).await? != Some(pair.base.1) {
            return Ok(None);
        }
        let (base, target) = (self.read_whole(&pair.base.0).await?, self.read_whole(&pair.target.0).await?);
        let made = blocking(move || cofferdam_delta::plan(&base, &target, level, &LIMITS)).await?;
        let Some(Made { recipe, payload, .. }) = made else { return Ok(None) };
        let line = RecipeLine {
            sha256: pair.target.0,
            size: pair.target.1,
            base: pair.base.0,
            payload: Sha256::of(&payload),
            recipe,
        };
        Ok(Some((line, pair.base.1, payload)))
    }
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// How much of two file names is the same, from both ends: `numpy-2.2.1-cp312-….whl` is most like the wheel
/// for the same interpreter and platform.
fn likeness(a: &str, b: &str) -> usize {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let (a, b) = (name(a), name(b));
    let front = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let back = a.bytes().rev().zip(b.bytes().rev()).take_while(|(x, y)| x == y).count();
    front + back
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adjacent_file_is_the_one_for_the_same_platform() {
        let new = "a/numpy-2.2.2-cp312-cp312-manylinux_2_17_x86_64.whl";
        let old = [
            "a/numpy-2.2.1-cp311-cp311-manylinux_2_17_x86_64.whl",
            "a/numpy-2.2.1-cp312-cp312-manylinux_2_17_x86_64.whl",
            "a/numpy-2.2.1-cp312-cp312-win_amd64.whl",
            "a/numpy-2.2.1.tar.gz",
        ];
        let best = old.iter().max_by_key(|path| likeness(new, path)).unwrap();
        assert_eq!(*best, old[1]);
        assert_eq!(extension("x.tar.gz"), "gz");
    }
}
