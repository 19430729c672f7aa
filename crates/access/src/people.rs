//! People: creating them, and their passwords (argon2id, in a blocking task).

use argon2::{Argon2, PasswordHash, PasswordHasher as _, PasswordVerifier as _, password_hash::SaltString};
use cofferdam_audit::{Entry, append};
use cofferdam_store::{PersonRow, Tx};
use cofferdam_types::{Error, ErrorKind, PersonId, Result, Secret, Slug};
use serde_json::json;

use crate::{Access, Principal, Role, tokens::random};

const SHORTEST_PASSWORD: usize = 8;

/// A person to be created.
#[derive(Clone, Debug)]
pub struct NewPerson {
    /// The name they log in with.
    pub name: Slug,
    /// The name shown to others.
    pub display: String,
    /// Their password; `None` for somebody who only uses tokens.
    pub password: Option<Secret<String>>,
    /// Their roles.
    pub roles: Vec<Role>,
}

impl Access {
    /// Creates a person.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, `Invalid` for a password that is too short.
    pub async fn create_person(&self, new: NewPerson, actor: &str) -> Result<PersonId> {
        let hash = match new.password {
            Some(password) => Some(hash(password).await?),
            None => None,
        };
        let now = self.clock.now();
        let mut tx = self.db.write().await?;
        if tx.access().person_by_name(new.name.as_str()).await?.is_some() {
            return Err(Error::conflict(
                "person-exists",
                format!("there is already somebody called `{}`", new.name),
            ));
        }
        let id = tx.access().insert_person(new.name.as_str(), &new.display, hash.as_deref(), now).await?;
        for role in &new.roles {
            tx.access().grant(id, role.as_str(), now).await?;
        }
        let roles: Vec<_> = new.roles.iter().map(|r| r.as_str()).collect();
        let entry = Entry {
            at: now,
            actor: actor.into(),
            action: "person.create".into(),
            target: format!("person:{}", new.name),
            detail: json!({ "roles": roles }),
        };
        append(&mut tx, &entry).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Checks a name and password. The answer takes as long for an unknown name as for a known one.
    ///
    /// # Errors
    /// `Unauthenticated`, without telling which of the two was wrong.
    pub async fn log_in(&self, name: &str, password: Secret<String>) -> Result<Principal> {
        let wrong =
            || Error::new(ErrorKind::Unauthenticated, "wrong-login", "the name or the password is wrong");
        let mut tx = self.db.read().await?;
        let row = tx.access().person_by_name(name).await?;
        let known = row.as_ref().filter(|p| p.state == "active").and_then(|p| p.password_hash.clone());
        drop(tx);
        let stored = match known {
            Some(hash) => hash,
            None => hash(Secret::new("nobody has this password".to_owned())).await?,
        };
        let matches = blocking(move || {
            let parsed = PasswordHash::new(&stored)
                .map_err(|e| Error::internal("a stored password hash", e.to_string()))?;
            Ok(Argon2::default().verify_password(password.expose().as_bytes(), &parsed).is_ok())
        })
        .await?;
        match row {
            Some(row) if matches && row.state == "active" && row.password_hash.is_some() => {
                let mut tx = self.db.read().await?;
                self.principal_of(&mut tx, row).await
            }
            _ => Err(wrong()),
        }
    }

    pub(crate) async fn principal_of(&self, tx: &mut Tx, row: PersonRow) -> Result<Principal> {
        let roles = tx.access().roles(row.id).await?;
        let roles = roles.iter().filter_map(|r| r.parse().ok()).collect();
        Ok(Principal::Person { id: row.id, name: row.name, roles })
    }

    /// A person by name, as a principal: for the command line of the site's own machine, where
    /// whoever can read the database could also change it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn person(&self, name: &str) -> Result<Principal> {
        let mut tx = self.db.read().await?;
        let row = tx.access().person_by_name(name).await?;
        let row = row.ok_or_else(|| Error::not_found(format!("there is nobody called `{name}`")))?;
        self.principal_of(&mut tx, row).await
    }
}

async fn hash(password: Secret<String>) -> Result<String> {
    if password.expose().len() < SHORTEST_PASSWORD {
        return Err(Error::invalid(
            "password-short",
            format!("a password has at least {SHORTEST_PASSWORD} characters"),
        ));
    }
    blocking(move || {
        let failed = |e: argon2::password_hash::Error| Error::internal("hashing a password", e.to_string());
        let salt = SaltString::encode_b64(&random::<16>()?).map_err(failed)?;
        Ok(Argon2::default().hash_password(password.expose().as_bytes(), &salt).map_err(failed)?.to_string())
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal("hashing a password", e))?
}
