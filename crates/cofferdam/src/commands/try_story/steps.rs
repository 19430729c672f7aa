//! The ten steps.

use std::path::{Path, PathBuf};

use cofferdam_access::Role as PersonRole;
use cofferdam_sandbox::{ProcessId, has_route, net_counters};
use cofferdam_types::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    report::{Facts, Report},
    sample::{self, Project},
    sites::{Plan, RunningSite},
};
use crate::{
    commands::{
        mentions::mentions_of,
        record::{Answers, Session, end_rehearsal, run_build},
        workplace::Workplace,
    },
    config::Role,
    output,
};

/// The two sites and the project between them.
pub struct Story {
    root: PathBuf,
    outside: RunningSite,
    inside: RunningSite,
    /// The site that plays the internet, with `--sample`.
    upstream: Option<RunningSite>,
    project: Project,
}

/// A step that did not hold.
fn broken(what: impl Into<String>) -> Error {
    Error::verification("step", what)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or("")
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

impl Story {
    /// Starts the two sites.
    ///
    /// # Errors
    /// What is missing on this machine, and how to get it.
    pub async fn prepare(root: &Path, with_sample: bool, report: &mut Report) -> Result<Self> {
        report.begin(
            "start",
            "Two sites on this machine: `outside` may reach the internet, `inside` has no route",
        );
        std::fs::create_dir_all(root).map_err(|e| Error::io("making the folder of the two sites", e))?;
        let project = Project::choose(root, with_sample)?;
        let upstream = if with_sample { Some(sample::upstream(&root.join("upstream")).await?) } else { None };
        let more = upstream.as_ref().map(|u| sample::configuration(&u.url)).unwrap_or_default();
        let people: &[(&str, &[PersonRole])] =
            &[("olga", &[PersonRole::Officer, PersonRole::Approver]), ("dana", &[PersonRole::Developer])];
        let plan = Plan { name: "outside", role: Role::Connected, people, more: &more };
        let outside = RunningSite::start(&root.join("outside"), plan).await?;
        let people: &[(&str, &[PersonRole])] = &[
            ("omar", &[PersonRole::Officer, PersonRole::Approver]),
            ("ann", &[PersonRole::Approver]),
            ("ben", &[PersonRole::Approver]),
            ("dana", &[PersonRole::Developer]),
            ("audrey", &[PersonRole::Auditor]),
        ];
        let plan = Plan { name: "inside", role: Role::Isolated, people, more: "" };
        let inside = RunningSite::start(&root.join("inside"), plan).await?;
        let routes = inside.pid().map(|pid| has_route(ProcessId::Of(pid))).transpose()?;
        if routes != Some(false) {
            return Err(broken("the inside site has a route"));
        }
        let key = outside.client("admin")?.get("/api/v1/site").await?;
        let trust = json!({ "site": "outside", "key": key["key"] });
        inside.client("admin")?.post("/api/v1/keys", &trust).await?;
        // The other way round for receipts and requests, and so that transfers are sealed to inside.
        let back = inside.client("admin")?.get("/api/v1/site").await?;
        let admin = outside.client("admin")?;
        admin.post("/api/v1/keys", &json!({ "site": "inside", "key": back["key"] })).await?;
        let recipient = json!({ "site": "inside", "recipient": back["recipient"] });
        admin.post("/api/v1/keys/recipient", &recipient).await?;
        let mut facts = Facts::default()
            .fact("outside", outside.url.clone())
            .fact("inside", inside.url.clone())
            .fact("sample", with_sample)
            .fact("parts", project.parts.clone())
            .line(format!("outside  {}", outside.url))
            .line(format!("inside   {}  (its own network namespace, no route)", inside.url))
            .line(format!("project  {} ({})", project.name, project.parts.join(", ")));
        if with_sample {
            facts =
                facts.line("the packages are a small set that this program made itself, not the real ones");
        }
        for left_out in &project.left_out {
            facts = facts.line(format!("left out: {left_out}"));
        }
        report.held(facts.fact("left_out", project.left_out.clone()));
        Ok(Self { root: root.to_owned(), outside, inside, upstream, project })
    }

    /// Every step.
    ///
    /// # Errors
    /// The first that does not hold.
    pub async fn tell(&mut self, report: &mut Report) -> Result<()> {
        let medium = self.root.join("medium");
        std::fs::create_dir_all(&medium).map_err(|e| Error::io("making the medium", e))?;
        report.begin(
            "record",
            "Record a real build outside: the sandbox can reach the outside site and nothing else",
        );
        let (session, facts) = self.record("berth", &self.project.folder.clone()).await?;
        report.held(facts);
        report.begin("rehearse", "Rehearse: the same command, upstream shut");
        let facts = self.rehearse(&session, &self.project.folder.clone()).await?;
        report.held(facts);
        report.begin("pack", "Pack the collection and the git repository onto a medium");
        self.push_outside().await?;
        let (first, facts) = self.pack("berth", &medium).await?;
        report.held(facts);
        report.begin("tamper", "Tamper with a copy: one flipped bit; its own parity mends it");
        let facts = self.tamper(&first).await?;
        report.held(facts);
        report.begin("lose", "Lose a volume on the way: inside asks for it, outside answers with only that");
        let (lossy, answer, facts) = self.lose(&first).await?;
        report.held(facts);
        report.begin("receive", "Receive what arrived and the answer: verified, in quarantine, invisible");
        let (transfer, facts) = self.receive(&[lossy, answer]).await?;
        report.held(facts);
        report.begin("approve", "Approve as two people, then publish in one switch");
        let facts = self.approve(transfer).await?;
        report.held(facts);
        report.begin("receipt", "A receipt goes back, as words over a telephone");
        let facts = self.receipt(transfer).await?;
        report.held(facts);
        report.begin("use", "Use it inside, with stock clients that have no route");
        let facts = self.use_inside().await?;
        report.held(facts);
        report.begin("pipeline", "git push inside: a pipeline runs, and its artifacts are signed");
        let facts = self.pipeline().await?;
        report.held(facts);
        report.begin("change", "Change one dependency and cross again: only what is new travels");
        let facts = self.change(&medium, &first).await?;
        report.held(facts);
        report.begin("audit", "Verify the audit log offline; count packets");
        let facts = self.audit().await?;
        report.held(facts);
        Ok(())
    }

    async fn record(&self, name: &str, folder: &Path) -> Result<(Session, Facts)> {
        let client = self.outside.client("olga")?;
        let mut place = Workplace::of(folder)?.hiding(&self.root);
        let session = Session::start(&client, name, &self.project.command).await?;
        let build = run_build(
            &client,
            session.record.expose(),
            &mut place,
            &self.project.command,
            Answers::Live,
            true,
        )
        .await?;
        let mentions = mentions_of(folder)?;
        let collection = session.end(&client, &build, &mentions.list).await?;
        if build.code != 0 {
            let what = format!("the build failed outside with {}:\n{}", build.code, build.tail());
            return Err(broken(what).hint(
                "when this machine reaches no upstream: `cofferdam try --sample` makes its own packages",
            ));
        }
        let ((files, bytes), releases) = (collection.totals(), collection.items.len());
        let running: Vec<&str> =
            collection.items.iter().filter(|i| i.found_by_running()).map(|i| i.purl.as_str()).collect();
        let some = running.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        let more = if running.len() > 3 { ", …" } else { "" };
        let facts = Facts::default()
            .fact("releases", releases)
            .fact("files", files)
            .fact("bytes", bytes)
            .fact("found_by_running", running.len())
            .line(format!("{releases} releases, {files} files, {} kept by digest", output::bytes(bytes)))
            .line(format!(
                "{} of them were found only by running, no lock file names them: {some}{more}",
                running.len()
            ))
            .look(format!("{}/recordings/{}", self.outside.url, session.id));
        Ok((session, facts))
    }

    async fn rehearse(&self, session: &Session, folder: &Path) -> Result<Facts> {
        let client = self.outside.client("olga")?;
        let mut place = Workplace::of(folder)?.hiding(&self.root);
        let build = run_build(
            &client,
            session.replay.expose(),
            &mut place,
            &self.project.command,
            Answers::Kept,
            true,
        )
        .await?;
        let done = end_rehearsal(&client, session.id, &build).await?;
        if done["complete"] != true {
            return Err(broken(format!(
                "the rehearsal failed; not here: {}\n{}",
                done["missing"],
                build.tail()
            )));
        }
        let asked = done["missing"].as_array().map_or(0, Vec::len);
        Ok(Facts::default()
            .fact("complete", true)
            .fact("asked_in_vain", asked)
            .line("complete: it builds from what was collected, and the site signed that it does"))
    }

    async fn push_outside(&self) -> Result<()> {
        let client = self.outside.client("dana")?;
        client.post("/api/v1/projects", &json!({ "path": "harbour/berth" })).await?;
        let url = self.outside.url.replace("://", &format!("://dana:{}@", self.outside.token("dana")?));
        let work = self.root.join("work-outside");
        self.project.commit_into(&work)?;
        sample::git(&work, &["push", "--quiet", &format!("{url}/harbour/berth.git"), "HEAD:refs/heads/main"])
            .map(drop)
    }

    async fn pack(&self, recording: &str, medium: &Path) -> Result<(PathBuf, Facts)> {
        let body = json!({
            "destination": "inside", "recordings": [recording], "projects": ["harbour/berth"], "into": medium,
            "volume_size": if self.upstream.is_some() { 64 << 10 } else { 1 << 20 },
        });
        let packed = self.outside.client("olga")?.post("/api/v1/transfers/pack", &body).await?;
        let path = PathBuf::from(text(&packed, "path"));
        let facts = Facts::default()
            .fact("bytes", number(&packed, "bytes"))
            .fact("blobs", number(&packed, "blobs"))
            .fact("held", number(&packed, "held"))
            .fact("recipes", number(&packed, "deltas"))
            .fact("volumes", packed["volumes"].clone())
            .fact("suite", text(&packed, "suite"))
            .fact("path", text(&packed, "path"))
            .line(format!(
                "{} on the medium: {} blobs whole, {} as recipes, {} that inside holds already",
                output::bytes(number(&packed, "bytes")),
                packed["blobs"],
                packed["deltas"],
                packed["held"]
            ))
            .line(format!(
                "encrypted to inside's key, in {} volumes and {} of parity",
                packed["volumes"][0], packed["volumes"][1]
            ))
            .look(path.display().to_string());
        Ok((path, facts))
    }

    /// A copy of a transfer's folder below the story's own.
    fn copy(&self, good: &Path, into: &str) -> Result<PathBuf> {
        let failed = |e| Error::io("copying a transfer", e);
        let copy = self.root.join(into).join(good.file_name().unwrap_or_default());
        std::fs::create_dir_all(&copy).map_err(failed)?;
        for entry in std::fs::read_dir(good).map_err(failed)? {
            let from = entry.map_err(failed)?.path();
            std::fs::copy(&from, copy.join(from.file_name().unwrap_or_default())).map_err(failed)?;
        }
        Ok(copy)
    }

    async fn tamper(&self, good: &Path) -> Result<Facts> {
        let failed = |e| Error::io("making a tampered copy", e);
        let copy = self.copy(good, "tampered")?;
        let (file, volume) = ("v000001.ctv", copy.join("v000001.ctv"));
        let mut bytes = std::fs::read(&volume).map_err(failed)?;
        let offset = bytes.len() / 2;
        bytes[offset] ^= 0b0001_0000;
        std::fs::write(&volume, bytes).map_err(failed)?;
        let client = self.inside.client("omar")?;
        let refused = client.post("/api/v1/transfers/receive", &json!({ "path": copy })).await;
        let error = refused.err().ok_or_else(|| broken("a tampered transfer was received"))?;
        if error.kind() != ErrorKind::VerificationFailed || !error.message().contains(file) {
            return Err(broken(format!("the refusal does not name the file: {}", error.message())));
        }
        let known = client.get("/api/v1/transfers").await?;
        if known["transfers"].as_array().is_none_or(|t| !t.is_empty()) {
            return Err(broken("a tampered transfer left something behind"));
        }
        let mended = self.mend(&copy)?;
        let same = |name: &str| std::fs::read(mended.join(name)).ok() == std::fs::read(good.join(name)).ok();
        if !same(file) {
            return Err(broken("the mended volume is not the one that was written"));
        }
        Ok(Facts::default()
            .fact("code", error.code())
            .fact("refusal", error.message())
            .fact("flipped", offset)
            .fact("mended", file)
            .line(format!("flipped a bit of {file} at byte {offset}"))
            .line(format!("refused: {}", error.message()))
            .line("nothing was imported")
            .line(format!("the parity on the medium rebuilds {file}, bit for bit")))
    }

    /// What `cofferdam repair --into` does.
    fn mend(&self, damaged: &Path) -> Result<PathBuf> {
        let keys = vec![self.outside.home.key()?.verifying_key()];
        let authority = cofferdam_transfer::Authority::Keys { keys, threshold: 1 };
        let trust = cofferdam_transfer::Trust { authority, this_site: None };
        let mut survey = cofferdam_transfer::Survey::open(&[damaged], &trust)?;
        survey.hash(&())?;
        Ok(survey.repair(&self.root.join("mended"), &())?.folder)
    }

    /// A copy from which a volume was lost, and the sender's answer to the request for it.
    async fn lose(&self, good: &Path) -> Result<(PathBuf, PathBuf, Facts)> {
        let copy = self.copy(good, "lossy")?;
        let lost = copy.join("v000001.ctv");
        let bytes = std::fs::metadata(&lost).map_err(|e| Error::io("losing a volume", e))?.len();
        std::fs::remove_file(&lost).map_err(|e| Error::io("losing a volume", e))?;
        let omar = self.inside.client("omar")?;
        let folders = json!({ "folders": [copy] });
        let missing = omar.post("/api/v1/transfers/receive", &folders).await.err();
        let missing = missing.ok_or_else(|| broken("a transfer without a volume was received"))?;
        if missing.kind() != ErrorKind::MissingVolume || !missing.message().contains("v000001.ctv") {
            return Err(broken(format!("the missing volume is not named: {}", missing.message())));
        }
        let request = omar.post("/api/v1/repairs/request", &folders).await?;
        let into = self.root.join("answer");
        std::fs::create_dir_all(&into).map_err(|e| Error::io("making a folder", e))?;
        let body = json!({ "request": request["request"], "into": into });
        let answered = self.outside.client("olga")?.post("/api/v1/repairs/answer", &body).await?;
        let answer = PathBuf::from(text(&answered, "folder"));
        let carried = answered["bytes"][1].as_u64().unwrap_or(0);
        let facts = Facts::default()
            .fact("code", missing.code())
            .fact("lost_bytes", bytes)
            .fact("answer_bytes", carried)
            .line(format!("lost v000001.ctv: {}", missing.message()))
            .line(format!("asked for {}, answered with {}", output::bytes(bytes), output::bytes(carried)));
        Ok((copy, answer, facts))
    }

    async fn receive(&self, folders: &[PathBuf]) -> Result<(u64, Facts)> {
        let client = self.inside.client("omar")?;
        let body = json!({ "folders": folders, "repair": true });
        let received = client.post("/api/v1/transfers/receive", &body).await?;
        if received["sound"] != true {
            return Err(broken(format!("items were refused: {}", received["refused"])));
        }
        let visible = self.visible_releases().await?;
        if visible != 0 {
            return Err(broken(format!("{visible} releases are visible before anybody approved")));
        }
        let id = number(&received, "id");
        let proof = self.closure_proof(id).await?;
        let facts = Facts::default()
            .fact("transfer", id)
            .fact("closure_proved", true)
            .fact("releases", number(&received, "releases"))
            .fact("visible_releases", visible)
            .fact("mended", received["mended"].clone())
            .line(format!(
                "transfer {id}: {} releases in quarantine; clients see {visible} of them",
                received["releases"]
            ))
            .line(proof)
            .look(format!("{}/transfers/{id}", self.inside.url));
        Ok((id, facts))
    }

    /// What inside proves of the rehearsal, from the medium alone.
    async fn closure_proof(&self, id: u64) -> Result<String> {
        let path = format!("/api/v1/transfers/{id}/difference");
        let difference = self.inside.client("ann")?.get(&path).await?;
        let proof = &difference["rehearsals"][0]["proof"];
        if proof["holds"] != true {
            return Err(broken(format!("the closure proof does not hold: {}", proof["troubles"])));
        }
        Ok(format!(
            "the closure proof holds: signed outside, {} files needed, {} of them in this transfer, the others here; \
             no connection went outside",
            proof["files"], proof["carried"]
        ))
    }

    async fn receipt(&self, id: u64) -> Result<Facts> {
        let path = format!("/api/v1/transfers/{id}/receipt");
        let given = self.inside.client("omar")?.post(&path, &json!({})).await?;
        let words: Vec<&str> =
            given["words"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let body = json!({ "text": words.join("\n") });
        let taken = self.outside.client("olga")?.post("/api/v1/receipts", &body).await?;
        if taken["outcome"] != "published" {
            return Err(broken(format!("the receipt says {}", taken["outcome"])));
        }
        Ok(Facts::default()
            .fact("outcome", taken["outcome"].clone())
            .fact("proved_blobs", taken["proved"].clone())
            .fact("lines_of_words", words.len())
            .line(format!(
                "{} numbered lines of four words, read aloud: the first is `{}`",
                words.len(),
                words.first().unwrap_or(&"")
            ))
            .line(format!(
                "outside now knows that inside holds {} blobs: the next transfer builds on them",
                taken["proved"]
            )))
    }

    async fn visible_releases(&self) -> Result<u64> {
        let all = self.inside.client("audrey")?.get("/api/v1/repositories").await?;
        Ok(all["repositories"].as_array().into_iter().flatten().map(|r| number(r, "releases")).sum())
    }

    async fn approve(&self, id: u64) -> Result<Facts> {
        let shown = self.inside.client("ann")?.get(&format!("/api/v1/transfers/{id}")).await?;
        let vote = json!({ "digest": shown["digest"], "reason": "looked at the difference" });
        let path = format!("/api/v1/transfers/{id}/approve");
        let own = self.inside.client("omar")?.post(&path, &vote).await;
        let own = own.err().ok_or_else(|| broken("the requester approved their own request"))?;
        if own.code() != "own-request" {
            return Err(broken(format!("the requester was refused for another reason: {}", own.message())));
        }
        self.inside.client("ann")?.post(&path, &vote).await?;
        let publish = format!("/api/v1/transfers/{id}/publish");
        let early = self.inside.client("omar")?.post(&publish, &json!({})).await;
        if early.as_ref().err().map(Error::kind) != Some(ErrorKind::AwaitingApproval) {
            return Err(broken("one approval was enough to publish"));
        }
        self.inside.client("ben")?.post(&path, &vote).await?;
        let published = self.inside.client("omar")?.post(&publish, &json!({})).await?;
        let visible = self.visible_releases().await?;
        if visible == 0 {
            return Err(broken("nothing is visible after the switch"));
        }
        Ok(Facts::default()
            .fact("own_refused", own.message())
            .fact("visible_releases", visible)
            .fact("generations", published["generations"].clone())
            .line(format!("omar asked, so: {}", own.message()))
            .line("one approval was not enough; ann and ben approved")
            .line(format!("published: {visible} releases visible at once"))
            .look(format!("{}/transfers/{id}", self.inside.url)))
    }

    async fn use_inside(&self) -> Result<Facts> {
        let client = self.inside.client("dana")?;
        let mut place = Workplace::of(&self.project.folder)?.hiding(&self.root);
        let build = run_build(
            &client,
            self.inside.token("dana")?,
            &mut place,
            &self.project.command,
            Answers::Kept,
            true,
        )
        .await?;
        if build.code != 0 {
            return Err(broken(format!("the build failed inside with {}:\n{}", build.code, build.tail())));
        }
        Ok(Facts::default()
            .fact("parts", self.project.parts.clone())
            .fact("connections", build.connections)
            .line(format!(
                "{} built inside; {} connections, all to the inside site",
                self.project.parts.join(", "),
                build.connections
            )))
    }

    async fn pipeline(&self) -> Result<Facts> {
        super::pipeline::push_and_watch(&self.root, &self.inside, &self.project).await
    }

    async fn change(&self, medium: &Path, first: &Path) -> Result<Facts> {
        let folder = self.project.upgraded(&self.root)?;
        let (session, _) = self.record("berth-upgrade", &folder).await?;
        self.rehearse(&session, &folder).await?;
        let (second, _) = self.pack("berth-upgrade", medium).await?;
        let (whole, new) = (folder_bytes(first), folder_bytes(&second));
        let (id, _) = self.receive_more(&second).await?;
        self.approve(id).await?;
        if new >= whole {
            return Err(broken(format!("the second transfer is not smaller: {new} bytes after {whole}")));
        }
        Ok(Facts::default()
            .fact("first_bytes", whole)
            .fact("second_bytes", new)
            .line(format!("first transfer  {}", output::bytes(whole)))
            .line(format!("second transfer {}: only what is new", output::bytes(new))))
    }

    async fn receive_more(&self, folder: &Path) -> Result<(u64, Value)> {
        let received =
            self.inside.client("omar")?.post("/api/v1/transfers/receive", &json!({ "path": folder })).await?;
        if received["sound"] != true {
            return Err(broken(format!("items were refused: {}", received["refused"])));
        }
        Ok((number(&received, "id"), received))
    }

    async fn audit(&mut self) -> Result<Facts> {
        let mut packets = 0;
        if let Some(pid) = self.inside.pid() {
            let counters = net_counters(ProcessId::Of(pid))?;
            packets = counters.iter().filter(|c| c.name != "lo").map(|c| c.tx_packets).sum();
            if has_route(ProcessId::Of(pid))? {
                return Err(broken("the inside site has a route"));
            }
        }
        let report = crate::commands::audit::verify(&self.inside.home).await?;
        let outside = crate::commands::audit::verify(&self.outside.home).await?;
        if packets != 0 {
            return Err(broken(format!("{packets} packets left the inside namespace")));
        }
        Ok(Facts::default()
            .fact("entries", report.entries)
            .fact("checkpoints", report.checkpoints)
            .fact("outside_entries", outside.entries)
            .fact("packets_out", packets)
            .line(format!(
                "inside: {} entries, {} signed checkpoints, every hash recomputed",
                report.entries, report.checkpoints
            ))
            .line(format!("packets out to other hosts: {packets}"))
            .look(format!("{}/audit", self.inside.url)))
    }

    /// Stays up until it is told to stop.
    ///
    /// # Errors
    /// `Internal` when signals cannot be listened for.
    pub async fn stay(&self, report: &Report) -> Result<()> {
        let login = |site: &RunningSite, person: &str| {
            format!("{person}'s token {}", site.token(person).unwrap_or("?"))
        };
        report.say(&format!(
            "\nboth sites stay up:\n  outside  {}   log in with {}\n  inside   {}   log in with {}\nCtrl-C ends it and removes everything.",
            self.outside.url,
            login(&self.outside, "olga"),
            self.inside.url,
            login(&self.inside, "audrey"),
        ));
        let failed = |e| Error::io("waiting for Ctrl-C", e);
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::select! {
            done = tokio::signal::ctrl_c() => done.map_err(failed),
            _ = terminate.recv() => Ok(()),
        }
    }

    /// Stops the sites; an error when one had to be killed.
    ///
    /// # Errors
    /// `Internal`.
    pub async fn end(&mut self) -> Result<()> {
        let mut outcome = self.inside.stop().await;
        outcome = self.outside.stop().await.and(outcome);
        if let Some(upstream) = &mut self.upstream {
            outcome = upstream.stop().await.and(outcome);
        }
        outcome
    }
}

fn folder_bytes(folder: &Path) -> u64 {
    let files = walkdir::WalkDir::new(folder).into_iter().filter_map(std::result::Result::ok);
    files.filter_map(|e| e.metadata().ok()).filter(std::fs::Metadata::is_file).map(|m| m.len()).sum()
}
