//! Migrations: small numbered steps, each applied once, in one transaction, with its text's digest
//! remembered so that an edited old step is noticed.

use cofferdam_types::{Error, Result, Sha256};

use crate::{Db, sql::args};

const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_core", include_str!("../migrations/0001_core.sql")),
    ("0002_audit", include_str!("../migrations/0002_audit.sql")),
    ("0003_access", include_str!("../migrations/0003_access.sql")),
    ("0004_registry", include_str!("../migrations/0004_registry.sql")),
    ("0005_served", include_str!("../migrations/0005_served.sql")),
    ("0006_forge", include_str!("../migrations/0006_forge.sql")),
    ("0007_crossing", include_str!("../migrations/0007_crossing.sql")),
    ("0008_carry", include_str!("../migrations/0008_carry.sql")),
    ("0009_want_transfer", include_str!("../migrations/0009_want_transfer.sql")),
    ("0010_switch", include_str!("../migrations/0010_switch.sql")),
    ("0011_collection", include_str!("../migrations/0011_collection.sql")),
];

const CREATE: &str = "CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, sha256 TEXT NOT NULL)";

pub(crate) async fn run(db: &Db) -> Result<()> {
    let mut tx = db.write().await?;
    tx.script(CREATE.to_owned()).await?;
    let applied = tx.all("SELECT name, sha256 FROM migration ORDER BY name", args![]).await?;
    for row in &applied {
        let name = row.text("name")?;
        let known = MIGRATIONS.iter().find(|(n, _)| *n == name);
        let Some((_, sql)) = known else {
            return Err(wrong(format!("the database was written by a newer version: it has step {name}")));
        };
        if Sha256::of(sql.as_bytes()) != row.sha256("sha256")? {
            return Err(wrong(format!("step {name} of the database differs from this version's")));
        }
    }
    for (name, sql) in &MIGRATIONS[applied.len()..] {
        let spelt = tx.dialect().spell(sql);
        tx.script(spelt).await?;
        let sha256 = Sha256::of(sql.as_bytes());
        tx.execute("INSERT INTO migration (name, sha256) VALUES ($1, $2)", args![*name, sha256]).await?;
    }
    tx.commit().await
}

fn wrong(message: String) -> Error {
    Error::conflict("database-version", message)
        .hint("start the version of cofferdam that wrote this database, or restore a backup made by this one")
}
