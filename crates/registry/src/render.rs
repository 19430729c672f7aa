//! Index documents of what a commit touched, for the repository and for every group it is in.

use std::{collections::BTreeSet, io::Write as _, sync::Arc};

use cofferdam_format_kit::{Document, Format};
use cofferdam_store::{NewDocument, RepositoryRow, Tx};
use cofferdam_types::{Error, RepositoryId, Result, Sha256};
use flate2::{Compression, write::GzEncoder};

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
        while !rest.is_empty() {
            let (page, after) = rest.split_at(page_of(tx, &sources, rest).await?);
            let shelf = Shelf::read(tx, &sources, page).await?;
            for place in places {
                self.render_page(tx, place, page, &shelf).await?;
            }
            rest = after;
        }
        Ok(())
    }

    async fn render_page(
        &self,
        tx: &mut Tx,
        place: &RepositoryRow,
        packages: &[&str],
        shelf: &Shelf,
    ) -> Result<()> {
        let format = self.format(&place.format)?;
        let mut documents = Vec::new();
        {
            let view = self.view_in(tx, place, format).await?.over(shelf);
            for package in packages {
                for document in format.render(Some(package), &view).await? {
                    documents.push(stored(document, package)?);
                }
            }
        }
        tx.registry().put_documents(place.id, packages, documents, place.generation).await
    }

    /// The documents of a repository as a whole, such as the list of its packages.
    async fn render_names(&self, tx: &mut Tx, place: &RepositoryRow) -> Result<()> {
        let format = self.format(&place.format)?;
        let rendered = {
            let view = self.view_in(tx, place, format).await?;
            format.render(None, &view).await?
        };
        let documents = rendered.into_iter().map(|document| stored(document, "")).collect::<Result<_>>()?;
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
    let mut weights = std::collections::HashMap::new();
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

fn stored<'p>(document: Document, package: &'p str) -> Result<NewDocument<'p>> {
    let Document { path, media_type, bytes } = document;
    Ok(NewDocument {
        path,
        package,
        media_type,
        sha256: Sha256::of(&bytes),
        size: bytes.len() as u64,
        gzip: gzip(&bytes)?,
    })
}

/// Compresses without a time stamp, so that the same text gives the same bytes.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4 + 64), Compression::new(6));
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|e| Error::io("compressing a document", e))
}
