//! Images, pipelines, charts, providers, collections and submodules.

use crate::check;

#[test]
fn a_dockerfile_has_images_that_are_no_stages() {
    check(
        "docker/Dockerfile",
        &[
            "oci alpine 3.20 on linux-x86_64",
            "oci busybox 1",
            "oci debian latest",
            "oci docker/dockerfile 1.7",
            "oci host.example:5000/tools sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa sha256:aa",
            "git https://git.example/g/r.git v1",
            "url https://files.example/tool.tar.gz * sha256:bb",
        ],
        &[(7, "what `RUN` fetches"), (21, "`MISSING`")],
        &[],
    );
}

#[test]
fn compose_pulls_what_it_does_not_build() {
    check(
        "compose/compose.yaml",
        &["oci base 1 for db optional", "oci redis 7 for cache on linux-aarch64", "oci tools 2 for ctx"],
        &[(17, "`WHO`")],
        &["compose/parts/db.yaml", "shared.yaml"],
    );
}

#[test]
fn a_pipeline_names_images_and_includes() {
    check(
        "gitlab/.gitlab-ci.yml",
        &[
            "oci alpine 3.20 for .hidden on linux-aarch64",
            "oci postgres 16 for default",
            "oci python 3.11-slim for local",
            "oci python 3.12 for default",
            "url https://files.example/ci.yml?private_token=*** * for include",
        ],
        &[
            (3, "ci.yml?private_token=***"),
            (4, "group/ci"),
            (6, "T.gitlab-ci.yml"),
            (19, "CI_REGISTRY_IMAGE"),
        ],
        &["ci/build.yml"],
    );
}

#[test]
fn a_chart_names_other_charts() {
    check(
        "helm/Chart.yaml",
        &[
            "helm aliased *",
            "helm db (~12.1) at https://charts.example/stable optional",
            "helm exact 1.2.3 at oci://host.example/charts",
        ],
        &[(15, "`aliased`")],
        &[],
    );
}

#[test]
fn values_name_images_in_two_ways() {
    check(
        "helm/values.yaml",
        &["oci exporter v1", "oci group/app *", "oci host.example/db 16 sha256:aa", "oci logger 2.1"],
        &[(2, "group/app")],
        &[],
    );
}

#[test]
fn providers_keep_their_host_and_both_kinds_of_hashes() {
    check(
        "terraform/.terraform.lock.hcl",
        &[
            "terraform host.example/group/aws 5.31.0 h1:qq zh:bb",
            "terraform host.example/group/null 3.2.0 zh:aa",
        ],
        &[],
        &[],
    );
}

#[test]
fn collections_and_roles_come_from_galaxies_and_repositories() {
    check(
        "ansible/requirements.yml",
        &[
            "galaxy geerling.nginx 1.0.0 if role",
            "galaxy ns.one *",
            "galaxy ns.three 3.1.0 at https://galaxy.example/api",
            "galaxy ns.two (>=1.0,<2)",
            "git https://git.example/ns/five.git *",
            "git https://git.example/ns/four.git main",
            "git https://git.example/role.git * for mine",
        ],
        &[],
        &["ansible/more.yml"],
    );
}

#[test]
fn submodules_are_repositories_without_a_commit() {
    check(
        "git/.gitmodules",
        &["git https://git.example/lib.git * for third/lib"],
        &[(3, "git ls-tree"), (6, "`beside`")],
        &[],
    );
}
