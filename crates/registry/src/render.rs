//! Index documents of what a commit touched, for the repository and for every group it is in.

use std::{collections::BTreeSet, io::Write as _, sync::Arc};

use cofferdam_format_kit::{Document, Format};
use cofferdam_store::{NewDocument, RepositoryRow, Tx};
use cofferdam_types::{Error, Result, Sha256};
use flate2::{Compression, write::GzEncoder};

use crate::{
    Registry,
    view::{RepoView, TxHandle},
};

impl Registry {
    /// Renders the packages that changed, then (when a name came or went) the repository's own
    /// documents.
    pub(crate) async fn render_dirty(
        &self,
        tx: &mut Tx,
        repository: &RepositoryRow,
        dirty: &BTreeSet<String>,
        names_changed: bool,
    ) -> Result<()> {
        let mut shown_in = tx.registry().groups_of(repository.id).await?;
        shown_in.insert(0, repository.clone());
        for place in &shown_in {
            let format = self.format(&place.format)?.clone();
            for package in dirty {
                self.render_one(tx, place, &format, Some(package)).await?;
            }
            if names_changed {
                self.render_one(tx, place, &format, None).await?;
            }
        }
        Ok(())
    }

    /// Renders everything of a repository: a new one, a new group, or a changed public address.
    pub(crate) async fn render_all(&self, tx: &mut Tx, repository: &RepositoryRow) -> Result<()> {
        let format = self.format(&repository.format)?.clone();
        let mut sources = tx.registry().members(repository.id).await?;
        sources.push(repository.clone());
        let mut names = BTreeSet::new();
        for source in &sources {
            let mut after = String::new();
            loop {
                let page = tx.registry().packages(source.id, &after, 500).await?;
                let Some(last) = page.last() else { break };
                after.clone_from(&last.key);
                names.extend(page.into_iter().map(|p| p.key));
            }
        }
        for package in &names {
            self.render_one(tx, repository, &format, Some(package)).await?;
        }
        self.render_one(tx, repository, &format, None).await
    }

    async fn render_one(
        &self,
        tx: &mut Tx,
        repository: &RepositoryRow,
        format: &Arc<dyn Format>,
        package: Option<&str>,
    ) -> Result<()> {
        let documents = {
            let handle = TxHandle::Borrowed(tx);
            let view = RepoView::new(handle, repository, format, self.blobs(), self.public_url()).await?;
            format.render(package, &view).await?
        };
        let key = package.unwrap_or("");
        tx.registry().delete_documents(repository.id, key).await?;
        for Document { path, media_type, bytes } in &documents {
            let document = NewDocument {
                path,
                package: key,
                media_type,
                sha256: Sha256::of(bytes),
                size: bytes.len() as u64,
                gzip: gzip(bytes)?,
            };
            tx.registry().put_document(repository.id, document, repository.generation).await?;
        }
        Ok(())
    }
}

/// Compresses without a time stamp, so that the same text gives the same bytes.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4 + 64), Compression::new(6));
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|e| Error::io("compressing a document", e))
}
