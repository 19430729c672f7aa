//! Recipes that do harm, signed by the right people: each is bounded, and its result counts only when it is
//! the signed one.

use std::path::PathBuf;

use cofferdam_delta::{Level, Limits, plan};
use cofferdam_transfer::{Base, Record};
use cofferdam_types::Sha256;
use serde_json::{Value, json};

use crate::{
    sender::{Forge, Plan, claim, digests, noise},
    site::Inside,
};

/// A base that the site holds, a target, and a transfer that rebuilds the one from the other.
struct Kitchen {
    desk: tempfile::TempDir,
    inside: Inside,
    base: Vec<u8>,
    target: Vec<u8>,
    first: Sha256,
}

impl Kitchen {
    fn new() -> Self {
        let (desk, inside) = (tempfile::tempdir().unwrap(), Inside::new());
        let plan = Plan::first();
        let base = plan.files[0].1.clone();
        let mut target = base.clone();
        target.splice(70_000..70_100, noise(300, 5));
        let (folder, first) = plan.write(&desk.path().join("first"));
        inside.receive(&[folder]).ok();
        Self { desk, inside, base, target, first }
    }

    /// The second transfer: `change` alters recipe and payload before they are signed.
    fn transfer(&self, change: impl Fn(&mut Dish)) -> PathBuf {
        let made = plan(&self.base, &self.target, Level::Prefix, &Limits::default()).unwrap().unwrap();
        let recipe = serde_json::to_value(&made.recipe).unwrap();
        let mut dish = Dish {
            recipe,
            payload: made.payload,
            base: (Sha256::of(&self.base), self.base.len() as u64),
            target: self.target.clone(),
        };
        change(&mut dish);
        let plan =
            Plan { files: vec![("payload/x".into(), dish.payload.clone())], ..Plan::after(self.first, 2) };
        let folder = tempfile::tempdir_in(&self.desk).unwrap().keep();
        let mut forge = Forge::open(&plan.write(&folder).0);
        dish.serve(&mut forge);
        forge.write()
    }
}

/// What the attacker alters.
struct Dish {
    recipe: Value,
    payload: Vec<u8>,
    base: (Sha256, u64),
    target: Vec<u8>,
}

impl Dish {
    /// One release, rebuilt from one base.
    fn serve(&self, forge: &mut Forge) {
        let made = digests(&self.target);
        let size = self.recipe["output"].as_u64().unwrap();
        let release = serde_json::to_value(claim("maps/new.bin", &made)).unwrap();
        let at = forge.lines.iter().position(|line| line["kind"] == "artifact").unwrap();
        forge.lines[at] = release;
        let requires = json!({ "kind": "requires", "sha256": self.base.0, "size": self.base.1 });
        let recipe = json!({
            "kind": "recipe", "sha256": made.sha256, "size": size, "base": self.base.0,
            "payload": Sha256::of(&self.payload), "recipe": self.recipe,
        });
        forge.lines.splice(at + 1..at + 1, [requires.clone(), recipe]);
        let line = serde_json::to_string(&serde_json::from_value::<Record>(requires).unwrap()).unwrap();
        let root = Sha256::of(&[&[0], line.as_bytes()].concat());
        forge.header.base = Some(Base { root, count: 1 });
        (forge.header.totals.rebuilt, forge.header.totals.rebuilt_bytes) = (1, size);
    }
}

#[test]
fn hostile_recipes_are_bounded_and_refused() {
    let kitchen = Kitchen::new();
    let gib = 1u64 << 30;
    type Change = Box<dyn Fn(&mut Dish)>;
    let set = |pointer: &'static str, to: Value| -> Change {
        Box::new(move |dish: &mut Dish| *dish.recipe.pointer_mut(pointer).unwrap() = to.clone())
    };
    let cases: Vec<(&str, i32, &str, Change)> = vec![
        ("a version that nobody knows", 3, "recipe-unknown-version", set("/v", json!(99))),
        ("a base of another size", 3, "recipe-wrong-base", set("/base", json!(3))),
        ("bomb: more output than a recipe may have", 3, "recipe-too-large", set("/output", json!(gib))),
        ("bomb: a program that unpacks to a gibibyte", 3, "recipe-bad", set("/program/size", json!(gib))),
        ("a program beyond its payload", 3, "recipe-bad", set("/program/len", json!(u32::MAX))),
        ("a length that overflows", 3, "recipe-bad", set("/program/len", json!(u64::MAX))),
        ("a payload that is cut short", 3, "recipe-bad", Box::new(|dish| dish.payload.truncate(40))),
        ("a payload with something behind it", 3, "recipe-bad", Box::new(|dish| dish.payload.push(0))),
        ("less output than is signed", 3, "recipe-bad", set("/output", json!(150_201))),
        (
            "wrong software: a recipe for other bytes",
            3,
            "blob-mismatch",
            Box::new(|dish| dish.target[9] ^= 1),
        ),
        (
            "a base that this site does not hold",
            6,
            "base-missing",
            Box::new(|dish| dish.base.0 = Sha256::of(b"not here")),
        ),
    ];
    for (name, exit, code, change) in cases {
        let folder = kitchen.transfer(change);
        println!("{name}");
        kitchen.inside.refuses(&folder, exit, code);
    }
    let received = kitchen.inside.receive(&[kitchen.transfer(|_| ())]).ok();
    assert_eq!((&received["sound"], &received["rebuilt"]), (&json!(true), &json!(1)), "{received}");
}

/// A release that names a blob of the store which did not come for it: somebody else's, in quarantine.
#[test]
fn a_release_is_made_of_its_own_blobs_only() {
    let kitchen = Kitchen::new();
    let stolen = serde_json::to_value(claim("maps/stolen.bin", &digests(&kitchen.base))).unwrap();
    let (folder, _) = Plan::after(kitchen.first, 2).write(&kitchen.desk.path().join("stolen"));
    let mut forge = Forge::open(&folder);
    let line = forge.of_kind("artifact").remove(0);
    line["value"] = stolen["value"].clone();
    refused_by_inspection(&kitchen.inside, forge.write(), "none of the blobs that came for it");
}

/// Wrong software: the right bytes under the name of something else.
#[test]
fn a_release_that_lies_about_its_own_bytes_is_refused_and_cannot_be_published() {
    let kitchen = Kitchen::new();
    let (folder, _) = Plan::after(kitchen.first, 2).write(&kitchen.desk.path().join("lie"));
    let mut forge = Forge::open(&folder);
    let line = forge.of_kind("artifact").remove(0);
    line["value"]["draft"]["version"] = json!("../../a.bin");
    refused_by_inspection(&kitchen.inside, forge.write(), "wrong place");
}

#[track_caller]
fn refused_by_inspection(inside: &Inside, folder: PathBuf, why: &str) {
    let before = inside.site.repositories();
    let output = inside.receive(&[folder]);
    assert_eq!((output.code, &output.json["sound"]), (3, &json!(false)), "{output:#?}");
    assert!(output.json["refused"].to_string().contains(why), "{output:#?}");
    let id = output.json["id"].to_string();
    assert_ne!(inside.site.by(&inside.officer, &["publish", &id]).code, 0, "it cannot be published");
    assert_eq!(inside.site.repositories(), before);
}
