//! Composition: what a site is made of, put together here and nowhere else.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use cofferdam_access::Access;
use cofferdam_blobs::{Blobs, LocalBlobs};
use cofferdam_crossing::{Crossing, CrossingParts};
use cofferdam_forge::{Forge, ForgeParts};
use cofferdam_format_kit::{
    Format, RepositoryKind, Upstream,
    joined::{Keys, Origin, UpstreamKeys},
};
use cofferdam_git::{GitBinary, GitService};
use cofferdam_http::{Site, SiteState};
use cofferdam_registry::{Registry, RegistryParts};
use cofferdam_store::Db;
use cofferdam_store::RepositoryRow;
use cofferdam_trust::SigningKey;
use cofferdam_types::{Clock, Error, Result, time::SystemClock};
use cofferdam_upstream::{HttpUpstream, Options, Override, Recent, WebUpstream};

use crate::{
    config::{Config, ProofsConfig, Role},
    home::Home,
    projects::ForgeProjects,
    upstream_keys,
};

/// Every package format of this program. A new one is one line here.
pub fn formats() -> Vec<Arc<dyn Format>> {
    vec![
        Arc::new(cofferdam_format_cargo::Cargo),
        Arc::new(cofferdam_format_generic::Generic),
        Arc::new(cofferdam_format_npm::Npm),
        Arc::new(cofferdam_format_pypi::PyPi),
        Arc::new(cofferdam_format_web::Web),
    ]
}

/// A site's parts, opened.
pub struct Opened {
    /// What the edge serves.
    pub site: Site,
    /// The database, to close it at the end.
    pub db: Db,
    /// The site's key.
    pub key: Arc<SigningKey>,
    /// Projects, pipelines, jobs.
    pub forge: Forge,
    /// Recordings and transfers.
    pub crossing: Crossing,
}

/// Opens the database of a state folder.
///
/// # Errors
/// `Unavailable` when PostgreSQL is away; `Conflict` when it is of another version.
pub async fn database(home: &Home, config: &Config) -> Result<Db> {
    if config.database.url.is_empty() {
        Db::open_sqlite(&home.database()).await
    } else {
        Db::open_postgres(&config.database.url).await
    }
}

/// Opens everything of a site.
///
/// # Errors
/// What is missing or broken, by name.
pub async fn open(home: &Home, config: &Config) -> Result<Opened> {
    let db = database(home, config).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let blobs: Arc<dyn Blobs> = Arc::new(LocalBlobs::open(&home.blobs())?);
    let key = Arc::new(home.key()?);
    let upstreams = match config.role {
        Role::Connected => upstreams(home, config, &clock).await?,
        Role::Isolated => BTreeMap::new(),
    };
    let registry = Registry::new(RegistryParts {
        db: db.clone(),
        blobs: Arc::clone(&blobs),
        formats: formats(),
        upstreams,
        clock: Arc::clone(&clock),
        public_url: config.public_url.clone(),
    });
    create_repositories(&registry).await?;
    let access = Access::new(db.clone(), Arc::clone(&clock));
    let git: Arc<dyn GitService> = Arc::new(GitBinary::open(&home.git()).await?);
    let forge = Forge::new(ForgeParts {
        db: db.clone(),
        blobs,
        git: Arc::clone(&git),
        clock: Arc::clone(&clock),
        registry: registry.clone(),
        key: Arc::clone(&key),
        site: config.name.clone(),
        job_repositories: default_groups(),
    });
    let crossing = Crossing::new(CrossingParts {
        site: config.name.clone(),
        registry: registry.clone(),
        access: access.clone(),
        projects: Arc::new(ForgeProjects(forge.clone())),
        git,
        key: Arc::clone(&key),
        sealing: home.sealing_key()?,
        staging: home.staging(),
        ledger: home.ledger(),
        receipt_level: config.receipts.level,
        tool: concat!("cofferdam ", env!("CARGO_PKG_VERSION")).to_owned(),
        upstream_keys: upstream_keys(&config.proofs)?,
    });
    let site = Site::new(SiteState {
        name: config.name.clone(),
        connected: config.role == Role::Connected,
        registry,
        crossing: crossing.clone(),
        key: key.verifying_key(),
        forge: forge.clone(),
        access,
        anonymous_read: config.access.anonymous_read,
        clock,
    });
    Ok(Opened { site, db, key, forge, crossing })
}

/// The keys of upstream's that the configuration names.
fn upstream_keys(config: &ProofsConfig) -> Result<UpstreamKeys> {
    let own = Keys {
        notes: config.note_keys.clone(),
        archives: upstream_keys::archive_keys(&config.archive_keys)?,
        images: upstream_keys::image_keys(&config.image_keys)?,
    };
    let mut keys = UpstreamKeys::of(&own, Origin::Site);
    if !config.authorities.as_os_str().is_empty() {
        keys.authorities = std::fs::read_to_string(&config.authorities).map_err(|e| {
            Error::invalid("config", format!("{} cannot be read", config.authorities.display()))
                .hint("proofs.authorities is a PEM file of certificates")
                .with_source(e)
        })?;
    }
    Ok(keys)
}

/// The repository that jobs are set up for, by format: the group that [`create_repositories`] makes.
fn default_groups() -> Vec<(String, String)> {
    formats().iter().map(|f| (f.name().to_owned(), f.name().to_owned())).collect()
}

/// Creates the repositories of each format that has none yet, at a site's first start and at its first start with a
/// program that knows one format more: a hosted one, a mirror, and a group of both in which ours come first. A format
/// in which nobody publishes has its mirror only, under its name.
///
/// # Errors
/// `Internal` when the database fails.
pub async fn create_repositories(registry: &Registry) -> Result<()> {
    let mut tx = registry.db().write().await?;
    let name = |text: String| text.parse().map_err(|e| Error::internal("a repository's name", e));
    let there = tx.registry().repositories("", usize::MAX).await?;
    for format in formats().iter().filter(|f| there.iter().all(|row| row.format != f.name())) {
        let published = format.is_published();
        let format = format.name();
        let taken = |row: &RepositoryRow| {
            row.name.strip_prefix(format).is_some_and(|end| ["", "-local", "-mirror"].contains(&end))
        };
        if let Some(row) = there.iter().find(|row| taken(row)) {
            tracing::warn!("no repository of {format} was made: the name {} is taken", row.name);
            continue;
        }
        if !published {
            registry
                .create(&mut tx, "system", &name(format.to_owned())?, format, RepositoryKind::Mirror, &[])
                .await?;
            continue;
        }
        let (local, mirror) = (name(format!("{format}-local"))?, name(format!("{format}-mirror"))?);
        registry.create(&mut tx, "system", &local, format, RepositoryKind::Hosted, &[]).await?;
        registry.create(&mut tx, "system", &mirror, format, RepositoryKind::Mirror, &[]).await?;
        let group = name(format.to_owned())?;
        registry.create(&mut tx, "system", &group, format, RepositoryKind::Group, &[local, mirror]).await?;
    }
    tx.commit().await
}

/// The upstreams of a connected site: from the configuration, else from the person's own clients.
async fn upstreams(
    home: &Home,
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<BTreeMap<&'static str, Arc<dyn Upstream>>> {
    let overrides: Vec<Override> = config
        .upstream
        .iter()
        .map(|(format, u)| Override {
            format: format.clone(),
            root: u.url.clone(),
            credentials: None,
            ca_bundle: None,
        })
        .collect();
    let found = tokio::task::spawn_blocking(move || {
        let home = std::env::var_os("HOME").unwrap_or_default();
        cofferdam_upstream::discover(&|n| std::env::var(n).ok(), Path::new(&home), Path::new("/"), &overrides)
    })
    .await
    .map_err(|e| Error::internal("looking for upstreams", e))?;
    for warning in &found.warnings {
        tracing::warn!("{warning}");
    }
    for (client, error) in &found.errors {
        tracing::warn!("no upstream for {client}: {}; {}", error.message(), error.advice().unwrap_or(""));
    }
    let mut out: BTreeMap<&'static str, Arc<dyn Upstream>> = BTreeMap::new();
    for one in found.found {
        tracing::info!("upstream of {}: as in {}", one.format, one.source);
        let format = one.format;
        out.insert(format, Arc::new(Recent::new(HttpUpstream::new(one, &Options::default())?)));
    }
    // Beside the registries, every address there is; only what a recording asks for is ever fetched.
    let options = Options { per_host: config.web.connections_per_host, ..Options::default() };
    let web = WebUpstream::new(&options, config.web.local_addresses)?;
    let web = web.keeping(home.partial(), Arc::clone(clock));
    out.insert(cofferdam_format_web::Web.name(), Arc::new(web));
    Ok(out)
}
