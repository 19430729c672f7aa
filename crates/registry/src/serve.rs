//! Answers to clients: from what is committed, or (in a recording, on a connected site) from
//! upstream, keeping what came.

use std::sync::Arc;

use cofferdam_format_kit::{
    Accepted, Answer, Body, Format, Recorded, Request, Route, Upload, View as _, Want,
};
use cofferdam_store::{RepositoryRow, ServedRow, Tx};
use cofferdam_types::{
    Error, ErrorKind, PackageUrl, Result, Sha256,
    address::{ASKED_BY_HEADER, address_without_secrets},
};
use tokio::sync::Mutex;

use crate::{
    Cause, Commit, Mode, Registry, Session,
    behind::{Given, GivenFirst, NoteLater},
    door::StagingDoor,
    kind_of,
    view::{RepoView, TxHandle},
};

/// Characters of an asker's name that are kept.
const LONGEST_ASKER: usize = 200;

/// What answers a request.
struct Found {
    answer: Answer,
    /// The request's own route, or the file that was meant.
    route: Route,
    /// Whether the session's note is made elsewhere.
    noted: bool,
}

/// What the recorder brought.
#[derive(Default)]
struct RecordedFirst {
    answer: Option<Answer>,
    file: Option<String>,
    noted: bool,
}

impl Registry {
    /// A read-only view of a repository's newest generation.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn view(&self, repository: &RepositoryRow) -> Result<RepoView<'static>> {
        let tx = TxHandle::Owned(Box::new(self.db().read().await?));
        let format = self.format(&repository.format)?;
        RepoView::new(tx, repository, format, self.blobs(), self.public_url()).await
    }

    /// The same for as long as a download takes: it sees what is committed meanwhile, and holds no connection.
    async fn patient_view(&self, repository: &RepositoryRow) -> Result<RepoView<'static>> {
        let tx = TxHandle::Each(self.db().clone());
        let format = self.format(&repository.format)?;
        RepoView::new(tx, repository, format, self.blobs(), self.public_url()).await
    }

    /// Answers a read.
    ///
    /// # Errors
    /// `NotFound` and what the format says; the edge shows them in the format's own shape.
    pub async fn answer(
        &self,
        repository: &RepositoryRow,
        request: &Request,
        route: &Route,
        session: Session,
    ) -> Result<Answer> {
        let format = self.format(&repository.format)?.clone();
        let answer = self.find(repository, &format, request, route, session).await;
        match &answer {
            Ok(Found { noted: true, .. }) => {}
            Ok(Found {
                answer: Answer { body: Body::Blob { sha256, .. }, .. },
                route: Route::File { path, .. },
                ..
            }) => {
                self.note_file(repository, path, sha256, session, request).await?;
            }
            Ok(_) => {}
            Err(error) => self.note_miss(repository, route, session, request, error).await?,
        }
        answer.map(|found| found.answer)
    }

    async fn find(
        &self,
        repository: &RepositoryRow,
        format: &Arc<dyn Format>,
        request: &Request,
        route: &Route,
        session: Session,
    ) -> Result<Found> {
        let recorded = self.record_first(repository, format, request, route, session).await?;
        let RecordedFirst { answer: live, file, noted } = recorded.unwrap_or_default();
        let meant = file.map(|path| Route::File { path, package: None });
        if let Some(answer) = live {
            return Ok(Found { answer, route: meant.unwrap_or_else(|| route.clone()), noted });
        }
        let view = self.view(repository).await?.for_session(session);
        let route = match meant {
            Some(route) => route,
            None => format.settle(request, route, &view).await?,
        };
        let answer = format.serve(request, &route, &view).await?;
        Ok(Found { answer, route, noted })
    }

    /// Takes a client's publish through the format and the gate.
    ///
    /// # Errors
    /// What the format or the gate refused; nothing has changed then.
    pub async fn publish(&self, repository: &RepositoryRow, upload: Upload, actor: &str) -> Result<Answer> {
        let format = self.format(&repository.format)?.clone();
        if format.is_published() {
            self.takes_publishes(repository).await?;
        }
        let view = self.patient_view(repository).await?;
        let Accepted { changes, answer } = format.accept(upload, &view, &self.door()).await?;
        drop(view);
        self.commit(repository, &changes, Commit { actor, cause: Cause::Publish }).await?;
        Ok(answer)
    }

    /// Says where to publish instead, before anything of an upload is read: a group shows what its members have, and a
    /// mirror is filled from elsewhere.
    async fn takes_publishes(&self, repository: &RepositoryRow) -> Result<()> {
        use cofferdam_format_kit::RepositoryKind as Kind;
        let why = match kind_of(repository) {
            Kind::Hosted => return Ok(()),
            Kind::Group => "it is a group and shows what its members have",
            Kind::Mirror => "it mirrors an upstream",
        };
        let mut tx = self.db().read().await?;
        let mut others = tx.registry().members(repository.id).await?;
        others.extend(tx.registry().repositories("", usize::MAX).await?);
        let hosted = |r: &&RepositoryRow| r.format == repository.format && kind_of(r) == Kind::Hosted;
        let hint = others.iter().find(hosted).map_or_else(
            || {
                format!(
                    "nothing is published in {} here: an administrator can create a hosted repository",
                    repository.format
                )
            },
            |r| format!("publish to `{}`: {}/r/{}/", r.name, self.public_url(), r.name),
        );
        let text = format!("the repository `{}` does not take uploads: {why}", repository.name);
        Err(Error::forbidden("not-hosted", text).hint(hint))
    }

    /// In a recording: brings what is wanted from upstream and commits it.
    async fn record_first(
        &self,
        repository: &RepositoryRow,
        format: &Arc<dyn Format>,
        request: &Request,
        route: &Route,
        session: Session,
    ) -> Result<Option<RecordedFirst>> {
        let Session::Recording(id, Mode::Record) = session else { return Ok(None) };
        let Some(want) = format.want(request, route) else { return Ok(None) };
        let Some((mirror, upstream)) = self.recording_mirror(repository).await? else { return Ok(None) };
        let turn = self.turn(&mirror, &want).await.lock_owned().await;
        let view = self.patient_view(&mirror).await?.addressed_as(repository, self.public_url());
        let view = view.for_session(session);
        if let Want::File { path, .. } = &want
            && view.file(path).await?.is_some()
        {
            return Ok(None);
        }
        let door = StagingDoor::new(self.door());
        let Recorded { changes, answer, file } =
            format.record(&want, &view, upstream.as_ref(), &door).await?;
        drop(view);
        let given = Given { recording: id, mirror, changes, staged: door.into_staged() };
        if let (Some(Answer { body: Body::Blob { sha256, .. }, .. }), Some(path), false) =
            (&answer, &file, given.changes.is_empty())
        {
            let (repository, request) = (repository.clone(), request.clone());
            let note = NoteLater { repository, path: path.clone(), sha256: *sha256, request };
            self.commit_behind(GivenFirst { given, note, _turn: turn }).await?;
            return Ok(Some(RecordedFirst { answer, file, noted: true }));
        }
        self.commit_given(given).await?;
        Ok(Some(RecordedFirst { answer, file, noted: false }))
    }

    /// The mirror that records for a repository: itself, or the first mirror of a group.
    async fn recording_mirror(
        &self,
        repository: &RepositoryRow,
    ) -> Result<Option<(RepositoryRow, Arc<dyn cofferdam_format_kit::Upstream>)>> {
        use cofferdam_format_kit::RepositoryKind as Kind;
        let Some((_, upstream)) = self.0.upstreams.iter().find(|(name, _)| **name == repository.format)
        else {
            return Ok(None);
        };
        let mirror = match kind_of(repository) {
            Kind::Mirror => Some(repository.clone()),
            Kind::Hosted => None,
            Kind::Group => {
                let members = self.db().read().await?.registry().members(repository.id).await?;
                members.into_iter().find(|m| kind_of(m) == Kind::Mirror)
            }
        };
        Ok(mirror.map(|m| (m, Arc::clone(upstream))))
    }

    /// One recorder for one thing at a time: ten clients that ask at once cost one download.
    async fn turn(&self, mirror: &RepositoryRow, want: &Want) -> Arc<Mutex<()>> {
        let key = match want {
            // However it is asked for: two answers of one address are told apart by looking at both.
            Want::Address { shown, .. } => format!("{}\n{shown}", mirror.name),
            Want::Index { .. } | Want::File { .. } => format!("{}\n{want:?}", mirror.name),
        };
        let mut turns = self.0.recording.lock().await;
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&key).and_then(std::sync::Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Mutex::new(()));
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }

    async fn note_file(
        &self,
        repository: &RepositoryRow,
        path: &str,
        sha256: &Sha256,
        session: Session,
        request: &Request,
    ) -> Result<()> {
        if session.key().is_none() {
            return Ok(());
        }
        let mut tx = self.db().write_behind().await?;
        let refused = self.note_in(&mut tx, repository, path, sha256, session, request).await?;
        tx.commit().await?;
        refused.map_or(Ok(()), Err)
    }

    /// Notes a file in a session's name; the error is what the client is told instead of the file.
    pub(crate) async fn note_in(
        &self,
        tx: &mut Tx,
        repository: &RepositoryRow,
        path: &str,
        sha256: &Sha256,
        session: Session,
        request: &Request,
    ) -> Result<Option<Error>> {
        let Some((kind, id)) = session.key() else { return Ok(None) };
        let Some((owner, file)) = owner_of(tx, repository, path, sha256).await? else { return Ok(None) };
        let format = self.format(&repository.format)?;
        let source = self.source_of(&repository.format, session);
        let row = ServedRow {
            repository: owner,
            path: path.into(),
            purl: PackageUrl::new(format.purl_type(), &file.package, &file.version).to_string(),
            package: file.package,
            version: file.version,
            sha256: Some(file.digests.sha256),
            size: file.digests.size,
            outcome: "served".into(),
            at: self.clock().now(),
            times: 1,
            source,
            askers: asker(request).into_iter().collect(),
        };
        let excluded = excluded(tx, session, &row.purl).await?;
        let missing = ServedRow { sha256: None, outcome: "missing".into(), ..row.clone() };
        tx.served().note(kind, id, if excluded.is_some() { &missing } else { &row }).await?;
        Ok(excluded)
    }

    /// The registry that a recording asks for what is not here, as people may see it.
    fn source_of(&self, format: &str, session: Session) -> String {
        let Session::Recording(_, Mode::Record) = session else { return String::new() };
        let upstream = self.0.upstreams.get(format);
        upstream.map_or_else(String::new, |upstream| address_without_secrets(upstream.root()))
    }

    async fn note_miss(
        &self,
        repository: &RepositoryRow,
        route: &Route,
        session: Session,
        request: &Request,
        error: &Error,
    ) -> Result<()> {
        let Some((kind, id)) = session.key() else { return Ok(()) };
        let (Route::Document { path, package } | Route::File { path, package }) = route else {
            return Ok(());
        };
        if !matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::Unavailable | ErrorKind::VerificationFailed
        ) {
            return Ok(());
        }
        let row = ServedRow {
            repository: repository.name.clone(),
            path: path.clone(),
            package: package.clone().unwrap_or_default(),
            version: String::new(),
            sha256: None,
            size: 0,
            purl: String::new(),
            outcome: "missing".into(),
            at: self.clock().now(),
            times: 1,
            source: String::new(),
            askers: asker(request).into_iter().collect(),
        };
        let mut tx = self.db().write_behind().await?;
        tx.served().note(kind, id, &row).await?;
        tx.commit().await
    }
}

/// The refusal of what people took out of the collection that is rehearsed: the rehearsal shows whether the build does
/// without it.
async fn excluded(tx: &mut Tx, session: Session, purl: &str) -> Result<Option<Error>> {
    let Session::Recording(id, Mode::Replay) = session else { return Ok(None) };
    let rule = tx.collections().rule(id, purl).await?.filter(|rule| rule.kind == "exclude");
    Ok(rule.map(|rule| {
        let why = if rule.reason.is_empty() { "without a reason".to_owned() } else { rule.reason };
        Error::not_found(format!("{purl} was excluded from the collection by {}: {why}", rule.actor))
    }))
}

/// Who asks: what a sandbox says of the program behind a connection, else what the client calls itself first.
fn asker(request: &Request) -> Option<String> {
    let header = |name| request.headers.get(name).and_then(|v| v.to_str().ok());
    let says = header(ASKED_BY_HEADER).or_else(|| header("user-agent")?.split(' ').next())?;
    let says: String = says.chars().filter(|c| !c.is_control()).take(LONGEST_ASKER).collect();
    (!says.is_empty()).then_some(says)
}

/// The member of a group (or the repository itself) that a served file came from.
async fn owner_of(
    tx: &mut Tx,
    repository: &RepositoryRow,
    path: &str,
    sha256: &Sha256,
) -> Result<Option<(String, cofferdam_store::FileRow)>> {
    let mut places = tx.registry().members(repository.id).await?;
    places.insert(0, repository.clone());
    for place in places {
        if let Some(file) = tx.registry().file(place.id, path).await?
            && file.digests.sha256 == *sha256
        {
            return Ok(Some((place.name, file)));
        }
    }
    Ok(None)
}
