//! How pip, uv, Pipenv, PDM, Poetry and twine are told to use a repository and nothing else.
//!
//! Only text is made here; the caller writes it. A token stands in the addresses, because that is
//! the only place from which every one of these clients takes it.

use cofferdam_format_kit::ClientSetup;
use url::Url;

/// The user name beside a token; any would do.
const USER: &str = "__token__";

/// The set-up for the repository at `repository_url`.
pub(crate) fn setup(repository_url: &str, token: Option<&str>) -> ClientSetup {
    let repository_url = repository_url.trim_end_matches('/');
    let parsed = Url::parse(repository_url).ok();
    let plain = parsed.as_ref().filter(|u| u.scheme() == "http").and_then(host_and_port);
    let index = with_token(&format!("{repository_url}/simple/"), token);
    ClientSetup {
        env: env(&index, plain.as_deref()),
        files: vec![
            (".config/pip/pip.conf".into(), pip_conf(&index, plain.as_deref())),
            (".config/uv/uv.toml".into(), uv_toml(&index)),
        ],
        commands: commands(&index, plain.as_deref()),
    }
}

/// The set-up of twine and `uv publish` for the hosted repository at `hosted_url`.
pub(crate) fn publish_setup(hosted_url: &str, token: Option<&str>) -> ClientSetup {
    let upload = format!("{}/legacy/", hosted_url.trim_end_matches('/'));
    let mut env = vec![("UV_PUBLISH_URL", upload.as_str()), ("TWINE_REPOSITORY_URL", &upload)];
    env.push(("TWINE_NON_INTERACTIVE", "1"));
    if let Some(token) = token {
        env.extend([("UV_PUBLISH_TOKEN", token), ("TWINE_USERNAME", USER), ("TWINE_PASSWORD", token)]);
    }
    let shown = token.unwrap_or("TOKEN");
    ClientSetup {
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        files: vec![(".pypirc".into(), pypirc(&upload, token))],
        commands: vec![
            format!("twine upload --repository-url '{upload}' -u {USER} -p {shown} dist/*"),
            format!("uv publish --publish-url '{upload}' --token {shown}"),
        ],
    }
}

fn host_and_port(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// An address with the token as its password.
fn with_token(address: &str, token: Option<&str>) -> String {
    let Some(token) = token else { return address.to_owned() };
    let Ok(mut url) = Url::parse(address) else { return address.to_owned() };
    // Fails only for addresses without a host, which then stay as they are.
    let _ = url.set_username(USER).and_then(|()| url.set_password(Some(token)));
    url.into()
}

fn env(index: &str, plain: Option<&str>) -> Vec<(String, String)> {
    let env = [
        ("PIP_INDEX_URL", index),
        ("PIP_EXTRA_INDEX_URL", ""),
        ("PIP_FIND_LINKS", ""),
        ("PIP_NO_INDEX", ""),
        ("PIP_TRUSTED_HOST", plain.unwrap_or_default()),
        ("PIP_NO_INPUT", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("UV_DEFAULT_INDEX", index),
        ("UV_INDEX_URL", index),
        ("UV_INDEX", ""),
        ("UV_EXTRA_INDEX_URL", ""),
        ("UV_FIND_LINKS", ""),
        // An interpreter is no package: what is there is what builds use.
        ("UV_PYTHON_DOWNLOADS", "never"),
        ("PIPENV_PYPI_MIRROR", index),
        ("PDM_PYPI_URL", index),
        ("PDM_CHECK_UPDATE", "false"),
        // Poetry itself knows no such thing: poetry-plugin-pypi-mirror does.
        ("POETRY_PYPI_MIRROR_URL", index),
        // virtualenv, which Pipenv and Poetry call, would fetch newer pips behind the build's back, once in two weeks.
        ("VIRTUALENV_NO_PERIODIC_UPDATE", "1"),
    ];
    env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Empty values override those of the machine's own configuration, which pip reads first.
fn pip_conf(index: &str, plain: Option<&str>) -> String {
    // pip's configuration is read without interpolation, so that `%` needs no escape.
    format!(
        "[global]\nindex-url = {index}\nextra-index-url =\nfind-links =\nno-index = false\n\
         trusted-host = {}\nno-input = true\ndisable-pip-version-check = true\n",
        plain.unwrap_or_default()
    )
}

fn uv_toml(index: &str) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    format!("[[index]]\nurl = {}\ndefault = true\n", quoted(index))
}

fn pypirc(upload: &str, token: Option<&str>) -> String {
    let mut text = format!(
        "[distutils]\nindex-servers =\n    cofferdam\n\n[cofferdam]\nrepository = {upload}\nusername = {USER}\n"
    );
    if let Some(token) = token {
        text.push_str(&format!("password = {token}\n"));
    }
    text
}

fn commands(index: &str, plain: Option<&str>) -> Vec<String> {
    let mut commands = vec![format!("pip config set global.index-url '{index}'")];
    commands.extend(plain.map(|host| format!("pip config set global.trusted-host '{host}'")));
    commands.push(format!("export UV_DEFAULT_INDEX='{index}'"));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(setup: &'a ClientSetup, name: &str) -> &'a str {
        &setup.env.iter().find(|(n, _)| n == name).expect(name).1
    }

    #[test]
    fn a_client_asks_this_repository_and_no_other() {
        let setup = setup("http://127.0.0.1:8080/r/py/", Some("cft_a/b"));
        assert_eq!(value(&setup, "PIP_INDEX_URL"), "http://__token__:cft_a%2Fb@127.0.0.1:8080/r/py/simple/");
        assert_eq!(value(&setup, "UV_DEFAULT_INDEX"), value(&setup, "PIP_INDEX_URL"));
        assert_eq!(value(&setup, "PIPENV_PYPI_MIRROR"), value(&setup, "PIP_INDEX_URL"));
        assert_eq!(value(&setup, "POETRY_PYPI_MIRROR_URL"), value(&setup, "PIP_INDEX_URL"));
        assert_eq!(value(&setup, "PIP_EXTRA_INDEX_URL"), "");
        assert_eq!(value(&setup, "PIP_TRUSTED_HOST"), "127.0.0.1:8080");
        let pip = &setup.files.iter().find(|(path, _)| path.ends_with("pip.conf")).unwrap().1;
        assert!(pip.contains("extra-index-url =\n") && pip.contains("trusted-host = 127.0.0.1:8080\n"));
    }

    #[test]
    fn what_is_published_goes_to_the_hosted_repository_and_nothing_of_it_to_the_group() {
        let group = setup("http://127.0.0.1:8080/r/py/", Some("cft_a"));
        assert!(!format!("{group:?}").contains("/legacy/"), "{group:?}");
        let hosted = publish_setup("http://127.0.0.1:8080/r/py-local/", Some("cft_a"));
        assert_eq!(value(&hosted, "TWINE_REPOSITORY_URL"), "http://127.0.0.1:8080/r/py-local/legacy/");
        assert_eq!(value(&hosted, "UV_PUBLISH_URL"), value(&hosted, "TWINE_REPOSITORY_URL"));
        assert_eq!(value(&hosted, "TWINE_PASSWORD"), "cft_a");
        assert!(hosted.commands[0].ends_with("-u __token__ -p cft_a dist/*"), "{:?}", hosted.commands);
    }

    #[test]
    fn no_client_looks_for_something_newer_on_its_own() {
        let setup = setup("https://site.example/r/py", None);
        assert_eq!(value(&setup, "PIP_DISABLE_PIP_VERSION_CHECK"), "1");
        assert_eq!(value(&setup, "PDM_CHECK_UPDATE"), "false");
        assert_eq!(value(&setup, "VIRTUALENV_NO_PERIODIC_UPDATE"), "1");
    }

    #[test]
    fn without_a_token_no_password_is_written_and_https_needs_no_trust() {
        let setup = setup("https://site.example/r/py", None);
        assert_eq!(value(&setup, "PIP_INDEX_URL"), "https://site.example/r/py/simple/");
        assert_eq!(value(&setup, "PIP_TRUSTED_HOST"), "");
        assert!(!setup.files.iter().any(|(_, text)| text.contains("password")));
        assert!(!setup.commands.iter().any(|c| c.contains("trusted-host")));
    }
}
