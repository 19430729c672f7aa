//! `cofferdam user` and `token`: on the site's own machine, where whoever can read the state folder
//! could change it anyway. Both leave their audit entry.

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use cofferdam_access::{Access, NewPerson, NewToken};
use cofferdam_store::{Db, TokenOwner};
use cofferdam_types::{Error, Result, Secret, TokenId, time::SystemClock};
use serde_json::json;

use super::Context;
use crate::{
    cli::{TokenAction, UserAction},
    output,
    site::database,
};

const ACTOR: &str = "system:command-line";

async fn access(context: &Context) -> Result<(Db, Access)> {
    let home = context.home()?;
    let db = database(&home, &home.config()?).await?;
    let access = Access::new(db.clone(), Arc::new(SystemClock));
    Ok((db, access))
}

/// Reads a password: asked on a terminal, else the first line of standard input.
fn password(name: &str) -> Result<Secret<String>> {
    if std::io::stdin().is_terminal() {
        eprint!("password for {name}: ");
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|e| Error::io("reading the password", e))?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// `cofferdam user`.
pub async fn user(context: &Context, action: UserAction) -> Result<()> {
    match action {
        UserAction::Create { name, roles, no_password } => {
            let roles = roles.iter().map(|r| r.parse()).collect::<Result<Vec<_>>>()?;
            let slug = name.parse().map_err(|e| Error::invalid("person-name", format!("{e}")))?;
            let password = if no_password { None } else { Some(password(&name)?) };
            let (db, access) = access(context).await?;
            let new = NewPerson { name: slug, display: name.clone(), password, roles };
            let id = access.create_person(new, ACTOR).await?;
            db.close().await;
            output::show(&json!({ "id": id, "name": name }), context.json, |_| format!("created {name}\n"));
        }
        UserAction::List => {
            let (db, _) = access(context).await?;
            let mut tx = db.read().await?;
            let mut rows = Vec::new();
            for person in tx.access().people().await? {
                let roles = tx.access().roles(person.id).await?;
                rows.push(
                    json!({ "id": person.id, "name": person.name, "state": person.state, "roles": roles }),
                );
            }
            drop(tx);
            db.close().await;
            output::show(&json!({ "people": rows }), context.json, |v| {
                let rows: Vec<Vec<String>> = v["people"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|p| {
                        let roles: Vec<&str> =
                            p["roles"].as_array().into_iter().flatten().filter_map(|r| r.as_str()).collect();
                        vec![
                            p["name"].as_str().unwrap_or("").to_owned(),
                            p["state"].as_str().unwrap_or("").to_owned(),
                            roles.join(", "),
                        ]
                    })
                    .collect();
                output::table(&["name", "state", "roles"], &rows)
            });
        }
    }
    Ok(())
}

/// `cofferdam token`.
pub async fn token(context: &Context, action: TokenAction) -> Result<()> {
    let (db, access) = access(context).await?;
    match action {
        TokenAction::Create { user, name, days } => {
            let person = access.person(&user).await?;
            let id = person
                .person()
                .ok_or_else(|| Error::not_found(format!("there is nobody called `{user}`")))?;
            let lifetime = Some(Duration::from_secs(days.saturating_mul(24 * 3600)));
            let new = NewToken { name: &name, owner: TokenOwner::Person(id), scopes: "", lifetime };
            let token = access.create_token(new, ACTOR).await?;
            let value = json!({ "user": user, "token": token.expose() });
            output::show(&value, context.json, |_| format!("{}\n", token.expose()));
        }
        TokenAction::Revoke { id } => {
            access.revoke_token(TokenId(id), ACTOR).await?;
            output::show(&json!({ "revoked": id }), context.json, |_| format!("token {id} is revoked\n"));
        }
    }
    db.close().await;
    Ok(())
}
