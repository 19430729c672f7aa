//! People, tokens and the two-person rule, in a real database.

use std::{sync::Arc, time::Duration};

use cofferdam_access::{Access, Decision, NewPerson, NewToken, Principal, Role, Verdict, approval};
use cofferdam_store::{Db, TokenOwner};
use cofferdam_testkit::TestClock;
use cofferdam_types::{Clock as _, ErrorKind, PersonId, Secret, Sha256};

struct World {
    _home: tempfile::TempDir,
    db: Db,
    clock: TestClock,
    access: Access,
}

async fn world() -> World {
    let home = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&home.path().join("site.db")).await.unwrap();
    let clock = TestClock::default();
    let access = Access::new(db.clone(), Arc::new(clock.clone()));
    World { _home: home, db, clock, access }
}

impl World {
    async fn person(&self, name: &str, roles: &[Role]) -> PersonId {
        let new = NewPerson {
            name: name.parse().unwrap(),
            display: name.to_uppercase(),
            password: Some(Secret::new(format!("password of {name}"))),
            roles: roles.to_vec(),
        };
        self.access.create_person(new, "system").await.unwrap()
    }

    async fn vote(
        &self,
        id: i64,
        who: (PersonId, &str),
        verdict: Verdict,
        digest: &Sha256,
    ) -> cofferdam_types::Result<Decision> {
        let mut tx = self.db.write().await.unwrap();
        let decided =
            approval::vote(&mut tx, id, who, verdict, "looked at it", digest, self.clock.now()).await;
        tx.commit().await.unwrap();
        decided
    }
}

#[tokio::test]
async fn a_password_lets_in_the_right_person_only() {
    let world = world().await;
    let alice = world.person("alice", &[Role::Developer]).await;
    let log_in = |name: &'static str, password: &'static str| {
        let access = world.access.clone();
        async move { access.log_in(name, Secret::new(password.to_owned())).await }
    };
    let principal = log_in("alice", "password of alice").await.unwrap();
    assert_eq!(
        principal,
        Principal::Person { id: alice, name: "alice".into(), roles: vec![Role::Developer] }
    );
    for (name, password) in [("alice", "password of bob"), ("nobody", "password of alice")] {
        assert_eq!(log_in(name, password).await.unwrap_err().code(), "wrong-login", "{name}");
    }
    let mut tx = world.db.write().await.unwrap();
    tx.access().set_state(alice, "blocked").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(log_in("alice", "password of alice").await.unwrap_err().kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn a_token_is_its_owner_until_it_is_revoked_or_over() {
    let world = world().await;
    let alice = world.person("alice", &[Role::Officer]).await;
    let new = |lifetime| NewToken { name: "laptop", owner: TokenOwner::Person(alice), scopes: "", lifetime };
    let hour = Duration::from_secs(3600);
    let token = world.access.create_token(new(Some(hour)), "person:alice").await.unwrap();
    assert!(token.expose().starts_with("cfd_"));
    assert!(!format!("{token:?}").contains("cfd_"), "a token cannot be printed");
    assert_eq!(world.access.by_token(token.expose()).await.unwrap().person(), Some(alice));
    let wrong = format!("{}x", token.expose());
    assert_eq!(world.access.by_token(&wrong).await.unwrap_err().code(), "bad-token");
    world.clock.advance(hour);
    assert_eq!(world.access.by_token(token.expose()).await.unwrap_err().code(), "bad-token");

    let token = world.access.create_token(new(None), "person:alice").await.unwrap();
    let id = world.db.read().await.unwrap().access().tokens_of(alice).await.unwrap()[1].id;
    world.access.revoke_token(id, "person:alice").await.unwrap();
    assert_eq!(world.access.by_token(token.expose()).await.unwrap_err().code(), "bad-token");
    assert_eq!(world.access.revoke_token(id, "person:alice").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn two_other_people_have_to_say_yes_to_exactly_this() {
    let world = world().await;
    let olga = (world.person("olga", &[Role::Officer, Role::Approver, Role::Admin]).await, "person:olga");
    let ann = (world.person("ann", &[Role::Approver]).await, "person:ann");
    let ben = (world.person("ben", &[Role::Approver]).await, "person:ben");
    let digest = Sha256::of(b"what is to be published");
    let now = world.clock.now();
    let mut tx = world.db.write().await.unwrap();
    let id = approval::ask(&mut tx, "transfer.publish", "transfer:1", &digest, olga, now).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(world.vote(id, olga, Verdict::Yes, &digest).await.unwrap_err().code(), "own-request");
    assert_eq!(
        world.vote(id, ann, Verdict::Yes, &Sha256::of(b"other")).await.unwrap_err().code(),
        "approval-changed"
    );
    assert_eq!(world.vote(id, ann, Verdict::Yes, &digest).await.unwrap(), Decision::Counted { yes: 1 });
    assert_eq!(world.vote(id, ann, Verdict::Yes, &digest).await.unwrap_err().code(), "voted-already");
    let mut tx = world.db.write().await.unwrap();
    let early = approval::take(&mut tx, "transfer.publish", "transfer:1", &digest, now).await.unwrap_err();
    assert_eq!(
        (early.kind(), early.message()),
        (ErrorKind::AwaitingApproval, "transfer:1 has 1 of 2 approvals")
    );
    drop(tx);
    assert_eq!(world.vote(id, ben, Verdict::Yes, &digest).await.unwrap(), Decision::Approved);

    let mut tx = world.db.write().await.unwrap();
    let other = approval::take(&mut tx, "transfer.publish", "transfer:1", &Sha256::of(b"other"), now).await;
    assert_eq!(other.unwrap_err().code(), "approval-changed");
    approval::take(&mut tx, "transfer.publish", "transfer:1", &digest, now).await.unwrap();
    let twice = approval::take(&mut tx, "transfer.publish", "transfer:1", &digest, now).await.unwrap_err();
    assert_eq!(twice.code(), "approval-closed");
    tx.commit().await.unwrap();

    let mut tx = world.db.read().await.unwrap();
    let log = tx.audit().by_target("transfer:1", 100).await.unwrap();
    let votes: Vec<_> = log.iter().filter(|e| e.action == "approval.vote").collect();
    assert_eq!(votes.len(), 5, "refused votes are in the log too");
    assert!(votes[0].body.contains("refused: own-request"));
}

#[tokio::test]
async fn one_no_ends_it_and_asking_again_makes_the_old_question_void() {
    let world = world().await;
    let olga = (world.person("olga", &[]).await, "person:olga");
    let ann = (world.person("ann", &[]).await, "person:ann");
    let ben = (world.person("ben", &[]).await, "person:ben");
    let (first, second) = (Sha256::of(b"1"), Sha256::of(b"2"));
    let now = world.clock.now();
    let mut tx = world.db.write().await.unwrap();
    let old = approval::ask(&mut tx, "k", "s", &first, olga, now).await.unwrap();
    let new = approval::ask(&mut tx, "k", "s", &second, olga, now).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.vote(old, ann, Verdict::Yes, &first).await.unwrap_err().code(), "approval-closed");
    assert_eq!(world.vote(new, ann, Verdict::No, &second).await.unwrap(), Decision::Rejected);
    assert_eq!(world.vote(new, ben, Verdict::Yes, &second).await.unwrap_err().code(), "approval-closed");
}
