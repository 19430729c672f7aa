//! Index documents of what a commit touched, for the repository and for every group it is in.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use cofferdam_format_kit::{Document, Format};
use cofferdam_store::{NewDocument, RepositoryRow, Tx};
use cofferdam_types::{Error, RepositoryId, Result, Sha256};
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use crate::{
    Registry,
    view::{RepoView, Shelf, TxHandle, members_of},
};

/// Packages that are read, rendered and stored together at the most.
const PAGE: usize = 256;
/// Files of such a page together at the most; one package alone may have more.
const PAGE_FILES: u64 = 4000;

impl Registry {
    /// Renders the packages that changed, then (when a name came or went) the repository's own
    /// documents: once for the repository and once for every group that shows it.
    pub(crate) async fn render_dirty(
        &self,
        tx: &mut Tx,
        repository: &RepositoryRow,
        dirty: &BTreeSet<String>,
        names_changed: bool,
    ) -> Result<()> {
        if !self.format(&repository.format)?.has_documents() {
            return Ok(());
        }
        let mut shown_in = tx.registry().groups_of(repository.id).await?;
        shown_in.insert(0, repository.clone());
        self.render_packages(tx, &shown_in, dirty).await?;
        if names_changed {
            for place in &shown_in {
                self.render_names(tx, place).await?;
            }
        }
        Ok(())
    }

    /// Renders everything of a repository: a new one, a new group, or a changed public address.
    pub(crate) async fn render_all(&self, tx: &mut Tx, repository: &RepositoryRow) -> Result<()> {
        let mut names = BTreeSet::new();
        for source in members_of(tx, repository).await? {
            let mut after = String::new();
            loop {
                let page = tx.registry().packages(source.id, &after, 500).await?;
                let Some(last) = page.last() else { break };
                after.clone_from(&last.key);
                names.extend(page.into_iter().map(|p| p.key));
            }
        }
        self.render_packages(tx, std::slice::from_ref(repository), &names).await?;
        self.render_names(tx, repository).await
    }

    /// Renders packages for all places that show them, page by page: the rows of a page are read once.
    async fn render_packages(
        &self,
        tx: &mut Tx,
        places: &[RepositoryRow],
        packages: &BTreeSet<String>,
    ) -> Result<()> {
        let mut sources: Vec<RepositoryId> = Vec::new();
        for place in places {
            sources.extend(members_of(tx, place).await?.into_iter().map(|member| member.id));
        }
        sources.sort_unstable();
        sources.dedup();
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        let mut rest = packages.as_slice();
        let mut press = Some(Press::new());
        // One page is compressed while the next one is read and rendered, and the one before it stored.
        let mut pressing: Option<(&[&str], Pressing)> = None;
        while !rest.is_empty() {
            let (page, after) = rest.split_at(page_of(tx, &sources, rest).await?);
            let shelf = Shelf::read(tx, &sources, page).await?;
            let mut rendered = Vec::with_capacity(places.len());
            for place in places {
                rendered.push(self.render_page(tx, place, page, &shelf).await?);
            }
            drop(shelf);
            let mut done = None;
            if let Some((before, task)) = pressing.take() {
                let (again, documents) = pressed(task).await?;
                (press, done) = (Some(again), Some((before, documents)));
            }
            pressing = Some((page, press.take().unwrap_or_else(Press::new).start(rendered)));
            if let Some((before, documents)) = done {
                store(tx, places, before, documents).await?;
            }
            rest = after;
        }
        if let Some((page, task)) = pressing {
            store(tx, places, page, pressed(task).await?.1).await?;
        }
        Ok(())
    }

    async fn render_page(
        &self,
        tx: &mut Tx,
        place: &RepositoryRow,
        packages: &[&str],
        shelf: &Shelf,
    ) -> Result<Vec<Rendered>> {
        let format = self.format(&place.format)?;
        let view = self.view_in(tx, place, format).await?.over(shelf);
        let mut documents = Vec::new();
        for package in packages {
            let rendered = format.render(Some(package), &view).await?;
            documents.extend(rendered.into_iter().map(|document| ((*package).to_owned(), document)));
        }
        Ok(documents)
    }

    /// The documents of a repository as a whole, such as the list of its packages.
    async fn render_names(&self, tx: &mut Tx, place: &RepositoryRow) -> Result<()> {
        let format = self.format(&place.format)?;
        let rendered = {
            let view = self.view_in(tx, place, format).await?;
            format.render(None, &view).await?
        };
        let rendered = rendered.into_iter().map(|document| (String::new(), document)).collect();
        let documents = pressed(Press::new().start(vec![rendered])).await?.1.pop().unwrap_or_default();
        tx.registry().put_documents(place.id, &[""], documents, place.generation).await
    }

    async fn view_in<'t>(
        &self,
        tx: &'t mut Tx,
        place: &RepositoryRow,
        format: &Arc<dyn Format>,
    ) -> Result<RepoView<'t>> {
        RepoView::new(TxHandle::Borrowed(tx), place, format, self.blobs(), self.public_url()).await
    }
}

/// How many of the packages, at least one, make a page that fits into memory.
async fn page_of(tx: &mut Tx, sources: &[RepositoryId], packages: &[&str]) -> Result<usize> {
    let page = packages.get(..PAGE).unwrap_or(packages);
    let mut weights = HashMap::new();
    for source in sources {
        for (key, files) in tx.registry().weights(*source, page).await? {
            *weights.entry(key).or_insert(0u64) += files;
        }
    }
    let mut sum = 0u64;
    let fits = page.iter().take_while(|key| {
        sum = sum.saturating_add(weights.get(**key).copied().unwrap_or(0));
        sum <= PAGE_FILES
    });
    Ok(fits.count().max(1))
}

/// A package and a document of it.
type Rendered = (String, Document);
/// A press at work on a page; for each place its documents.
type Pressing = tokio::task::JoinHandle<Result<(Press, Vec<Vec<NewDocument>>)>>;

async fn pressed(task: Pressing) -> Result<(Press, Vec<Vec<NewDocument>>)> {
    task.await.map_err(|e| Error::internal("compressing documents", e))?
}

/// Stores a page's documents for every place.
async fn store(
    tx: &mut Tx,
    places: &[RepositoryRow],
    page: &[&str],
    documents: Vec<Vec<NewDocument>>,
) -> Result<()> {
    for (place, documents) in places.iter().zip(documents) {
        tx.registry().put_documents(place.id, page, documents, place.generation).await?;
    }
    Ok(())
}

/// Compresses documents as gzip (RFC 1952), without a time stamp, so that the same text gives the same bytes.
///
/// One compressor for all of a commit: making one costs more than compressing a small page. A repository and its group
/// mostly show the same text, which is compressed once.
struct Press {
    deflate: Compress,
    /// What the packages of this page came to, by the digest of the text.
    made: HashMap<Sha256, Vec<u8>>,
}

impl Press {
    fn new() -> Self {
        Self { deflate: Compress::new(Compression::new(6), false), made: HashMap::new() }
    }

    /// Compresses a page on a thread of its own.
    fn start(mut self, page: Vec<Vec<Rendered>>) -> Pressing {
        tokio::task::spawn_blocking(move || {
            let mut places = Vec::with_capacity(page.len());
            for documents in page {
                places.push(documents.into_iter().map(|one| self.stored(one)).collect::<Result<_>>()?);
            }
            self.made.clear();
            Ok((self, places))
        })
    }

    fn stored(&mut self, (package, document): Rendered) -> Result<NewDocument> {
        let Document { path, media_type, bytes } = document;
        let sha256 = Sha256::of(&bytes);
        let gzip = match self.made.get(&sha256) {
            Some(gzip) => gzip.clone(),
            None => {
                let gzip = self.gzip(&bytes)?;
                self.made.insert(sha256, gzip.clone());
                gzip
            }
        };
        Ok(NewDocument { path, package, media_type, sha256, size: bytes.len() as u64, gzip })
    }

    fn gzip(&mut self, text: &[u8]) -> Result<Vec<u8>> {
        // Deflate, no flags, no time, neither fastest nor best, an unknown system.
        let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        out.reserve(text.len() / 4 + 64);
        self.deflate.reset();
        loop {
            let taken = usize::try_from(self.deflate.total_in()).unwrap_or(usize::MAX);
            let rest = text.get(taken..).unwrap_or_default();
            let status = self.deflate.compress_vec(rest, &mut out, FlushCompress::Finish);
            match status.map_err(|e| Error::internal("compressing a document", e))? {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError => out.reserve(out.len().max(1024)),
            }
        }
        let mut crc = Crc::new();
        crc.update(text);
        out.extend(crc.sum().to_le_bytes());
        out.extend(crc.amount().to_le_bytes());
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn every_text_comes_back_whole_from_the_same_compressor() {
        let mut press = Press::new();
        let noise: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for text in [b"".as_slice(), b"a page", &noise, b"a page"] {
            let gzip = press.gzip(text).unwrap();
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(gzip.as_slice()).read_to_end(&mut back).unwrap();
            assert!(back == text, "{} bytes", text.len());
            assert_eq!(gzip, press.gzip(text).unwrap(), "the same bytes every time");
        }
    }
}
