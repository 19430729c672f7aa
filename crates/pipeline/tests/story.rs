//! A definition is loaded, planned and run to its end.

use cofferdam_pipeline::*;
use std::collections::HashMap;

struct Files(HashMap<&'static str, &'static str>);
impl Source for Files {
    fn read(&self, path: &str) -> Option<String> {
        self.0.get(path).map(|text| (*text).to_owned())
    }
}

fn read(text: &'static str) -> std::result::Result<Config, Vec<Diagnostic>> {
    let shared = ".base:\n  image: shared:1\n  script: [echo base]\n  variables: {A: base, B: base}\n";
    load(&Files(HashMap::from([("ci.yml", text), ("shared.yml", shared)])), "ci.yml")
}

fn plan(text: &'static str, context: &Context) -> Plan {
    match evaluate(&read(text).unwrap(), context) {
        Planned::Plan(plan) => plan,
        Planned::NotCreated(why) => panic!("not created: {why}"),
    }
}

fn main_branch() -> Context {
    Context {
        ref_name: "main".into(),
        default_branch: "main".into(),
        source: "push".into(),
        ..Context::default()
    }
}

#[test]
fn a_definition_with_include_extends_reference_and_matrix_becomes_a_plan() {
    let text = "
include: /shared.yml
default: {before_script: [echo before], tags: [small]}
variables: {ROOT: 'r', GREETING: 'hi $A'}
.lines: {script: [echo one, [echo two]]}
build:
  stage: build
  extends: .base
  variables: {B: own}
test:
  script: [!reference [.lines, script], echo three]
  parallel: {matrix: [{OS: [a, b], V: '1'}]}
  needs: [build]
  timeout: 1h 30m
release:
  stage: deploy
  script: [echo]
  rules:
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $ROOT =~ /^R$/i
      when: manual
";
    let plan = plan(text, &main_branch());
    let names: Vec<&str> = plan.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["build", "test: [a, 1]", "test: [b, 1]", "release"]);
    assert_eq!(plan.stages, ["build", "test", "deploy"]);
    let build = &plan.jobs[0];
    assert_eq!(build.script, ["echo before", "echo base"]);
    assert_eq!(build.image.as_ref().unwrap().name, "shared:1");
    let value = |key: &str| build.variables.iter().find(|v| v.key == key).unwrap();
    assert_eq!((value("A").value.as_str(), value("B").value.as_str()), ("base", "own"));
    assert_eq!((value("GREETING").value.as_str(), value("GREETING").origin), ("hi base", Origin::RootYaml));
    assert_eq!(plan.jobs[1].script, ["echo before", "echo one", "echo two", "echo three"]);
    assert_eq!(plan.jobs[1].timeout, Some(5400));
    assert_eq!(plan.jobs[3].when, When::Manual);
    assert_eq!(plan.jobs[3].allow_failure, AllowFailure::Always(false), "manual inside rules blocks");
    let written = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&written).unwrap(), plan);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let text = "a:\n  scrpt: [x]\nb:\n  script: [x]\n  trigger: other\n  stage: tset\n  retry: 7\n";
    let problems = read(text).unwrap_err();
    let said = render(&problems, &|_| Some(text.to_owned()));
    for wanted in [
        "ci.yml:2:3: unknown keyword `scrpt` in job\n 2 |   scrpt: [x]\n   |   ^\n   = did you mean `script`?",
        "ci.yml:5:3: `trigger` in job is known but not supported",
        "did you mean `test`?",
        "ci.yml:7:10: `retry` is 0, 1 or 2",
    ] {
        assert!(said.contains(wanted), "{wanted}\nis missing in\n{said}");
    }
}

#[test]
fn circles_are_found_everywhere() {
    assert!(read("a: {extends: b, script: [x]}\nb: {extends: a}\n").is_err());
    assert!(read("include: ci.yml\na: {script: [x]}\n").is_err());
    assert!(read("a: {script: !reference [a, script]}\n").is_err());
    let needs = read("a: {script: [x], needs: [b]}\nb: {script: [x], needs: [a]}\n").unwrap();
    assert!(matches!(evaluate(&needs, &main_branch()), Planned::NotCreated(why) if why.contains("circle")));
    let variables = read("variables: {A: $B, B: $A}\na: {script: [x]}\n").unwrap();
    assert!(
        matches!(evaluate(&variables, &main_branch()), Planned::NotCreated(why) if why.contains("A -> B -> A"))
    );
}

#[test]
fn a_file_of_aliases_that_double_is_refused() {
    let mut text = String::from("a0: &a0 [x, x]\n");
    for i in 1..40 {
        text += &format!("a{i}: &a{i} [*a{}, *a{}]\n", i - 1, i - 1);
    }
    assert!(yaml::parse("ci.yml", &text).unwrap_err()[0].message.contains("nodes"));
}

#[test]
fn expressions_are_true_as_in_gitlab() {
    let known = |name: &str| match name {
        "EMPTY" => Some(String::new()),
        "X" => Some("value".into()),
        "RE" => Some("/^VAL/i".into()),
        _ => None,
    };
    for (text, holds) in [
        ("$X", true),
        ("$EMPTY", false),
        ("$EMPTY || $X", false),
        ("$NONE || $X", true),
        ("\"\" && \"s\"", true),
        ("$NONE == null", true),
        ("$NONE =~ /x/", false),
        ("$NONE !~ /x/", true),
        ("$X =~ $RE", true),
        ("$X == 'a' || $X == 'value' && $NONE == null", true),
        ("($X == 'value' || $X) && $NONE", false),
    ] {
        assert_eq!(Expression::parse(text).unwrap().holds(&known), holds, "{text}");
    }
    for wrong in ["", "$X ==", "== 'a'", "'open", "/open", "($X", "$X $X", "$X = 'a'"] {
        Expression::parse(wrong).expect_err(wrong);
    }
}

#[test]
fn rules_choose_among_the_combinations_of_a_matrix() {
    let names = |text: &'static str| -> Vec<String> {
        plan(text, &main_branch()).jobs.into_iter().map(|job| job.name).collect()
    };
    let some = "
variables: {ARCH: none}
build:
  script: [make]
  variables: {ARCH: job}
  parallel: {matrix: [{ARCH: [amd64, arm64], OS: [linux]}, {ARCH: [arm64], OS: [other]}]}
  rules: [{if: $ARCH == 'amd64'}, {if: $OS =~ /^o/, when: manual}]
";
    assert_eq!(names(some), ["build: [amd64, linux]", "build: [arm64, other]"]);
    let jobs = plan(some, &main_branch()).jobs;
    assert_eq!((jobs[0].when, jobs[1].when), (When::OnSuccess, When::Manual));

    let never = "
build:
  script: [make]
  parallel: {matrix: [{ARCH: [amd64, arm64]}]}
  rules: [{if: $ARCH == 'arm64', when: never}, {when: on_success, variables: {ARCH: rule, X: set}}]
";
    let jobs = plan(never, &main_branch()).jobs;
    assert_eq!(jobs.len(), 1);
    let value = |key: &str| jobs[0].variables.iter().find(|v| v.key == key).map(|v| v.value.as_str());
    assert_eq!((value("ARCH"), value("X")), (Some("amd64"), Some("set")));

    let counted = "a: {script: [x], parallel: 2, rules: [{if: $CI_NODE_INDEX == null}]}\n";
    assert_eq!(names(counted), ["a 1/2", "a 2/2"], "a copy's number is only known in the job");
}

#[test]
fn a_changed_path_decides() {
    let text = "a:\n  script: [x]\n  rules: [{changes: ['src/**/*.{rs,toml}']}]\nb: {script: [x]}\n";
    let jobs = |paths: Option<Vec<String>>| {
        plan(text, &Context { changed_paths: paths, ..main_branch() }).jobs.len()
    };
    assert_eq!(jobs(Some(vec!["src/deep/er/a.rs".into()])), 2);
    assert_eq!(jobs(Some(vec!["src/a.toml".into()])), 2);
    assert_eq!(jobs(Some(vec!["docs/a.rs".into()])), 1);
    assert_eq!(jobs(None), 2);
}

#[test]
fn the_readme_lists_exactly_the_keywords_of_the_code() {
    let readme = include_str!("../README.md");
    let mut table: Vec<String> = keywords()
        .map(|(place, name, support)| {
            let word = if support == Support::Supported { "supported" } else { "refused" };
            format!("| {place} | `{name}` | {word} |")
        })
        .collect();
    let mut written: Vec<&str> = readme.lines().filter(|line| line.contains(" | `")).collect();
    table.sort();
    written.sort_unstable();
    assert_eq!(written, table);
}
