//! `cofferdam init`: a site's state folder.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::Path};

use cofferdam_access::{Access, NewPerson, NewToken, Role as PersonRole};
use cofferdam_registry::{Registry, RegistryParts};
use cofferdam_store::TokenOwner;
use cofferdam_trust::SigningKey;
use cofferdam_types::{Error, Result, SiteName, time::SystemClock};
use serde_json::json;

use super::Context;
use crate::{
    cli::InitArgs,
    config::{Config, Role, template},
    home::Home,
    output,
    site::{create_repositories, database, formats},
};

/// Creates the folder, or nothing.
pub async fn run(context: &Context, arguments: &InitArgs) -> Result<()> {
    let home = context.home()?;
    let name: SiteName = arguments.name.parse().map_err(|e| Error::invalid("site-name", format!("{e}")))?;
    let role = match arguments.role.as_str() {
        "connected" => Role::Connected,
        "isolated" => Role::Isolated,
        other => {
            return Err(Error::invalid("role", format!("there is no role `{other}`")).hint(
                "a site is `connected` (records and packs) or `isolated` (receives, never dials out)",
            ));
        }
    };
    let listen = arguments.listen.parse().map_err(|_| {
        Error::invalid(
            "listen",
            format!("`{}` is not an address and port, such as 127.0.0.1:8470", arguments.listen),
        )
    })?;
    let token = create(&home, &template(&name, role, listen), &arguments.admin).await?;
    let value = json!({ "home": home.path(), "name": name, "admin": arguments.admin, "token": token });
    output::show(&value, context.json, |_| {
        format!(
            "created the {} site `{name}` in {}\n\
             start it:        cofferdam --home {} serve\n\
             your token:      {token}\n\
             (it is {}'s, an administrator, and is shown only now)\n",
            arguments.role,
            home.path().display(),
            home.path().display(),
            arguments.admin
        )
    });
    Ok(())
}

/// Creates a state folder from a configuration text and returns the administrator's token.
///
/// # Errors
/// `Conflict` when there is a site already; nothing is changed then.
pub async fn create(home: &Home, config_text: &str, admin: &str) -> Result<String> {
    if home.config_file().exists() {
        return Err(Error::conflict(
            "site-exists",
            format!("there is already a site in {}", home.path().display()),
        )
        .hint("start it with `cofferdam serve`, or name another folder with --home"));
    }
    let config = Config::parse(config_text, "the new configuration", &|name| std::env::var(name).ok())?;
    private_folder(home.path())?;
    private_folder(&home.path().join("keys"))?;
    if !home.key_file().exists() {
        SigningKey::generate()?.write_new(&home.key_file())?;
    }
    home.sealing_key()?;
    let db = database(home, &config).await?;
    let clock = std::sync::Arc::new(SystemClock);
    let blobs = std::sync::Arc::new(cofferdam_blobs::LocalBlobs::open(&home.blobs())?);
    let registry = Registry::new(RegistryParts {
        db: db.clone(),
        blobs,
        formats: formats(),
        upstreams: std::collections::BTreeMap::new(),
        clock: clock.clone(),
        public_url: config.public_url.clone(),
    });
    create_repositories(&registry).await?;
    let access = Access::new(db.clone(), clock);
    let person = NewPerson {
        name: admin.parse().map_err(|e| Error::invalid("person-name", format!("{e}")))?,
        display: admin.to_owned(),
        password: None,
        roles: vec![PersonRole::Admin],
    };
    let id = access.create_person(person, "system").await?;
    let new = NewToken { name: "init", owner: TokenOwner::Person(id), scopes: "", lifetime: None };
    let token = access.create_token(new, "system").await?;
    db.close().await;
    // The configuration comes last: only a folder that is complete looks like a site.
    fs::write(home.config_file(), config_text).map_err(|e| Error::io("writing the configuration", e))?;
    Ok(token.expose().clone())
}

fn private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Error::io(format!("making {}", path.display()), e))
}
