//! How clients in a sandbox are told to believe the authority: environment variables, a bundle for those
//! that read one file instead of the system's, and a trust store for Java. And the few settings without which
//! a client cannot be recorded at all. Never a host name: where a client fetches from is its own affair.
//!
//! Some variables replace the roots of a client, and get the bundle; some add to them, and get the one
//! certificate. A client that reads only the system's file (GnuTLS: apt, wget) needs the bundle in its
//! place, which is the sandbox's to put there.

use cofferdam_types::Result;

use crate::{Gateway, authority::Authority, pkcs12};

/// Variables that replace a client's roots, and whose they are.
const REPLACE: &[(&str, &str)] = &[
    (
        "SSL_CERT_FILE",
        "OpenSSL, and with it Python (Ansible), Ruby (gem), PHP, Perl, .NET; Go (Helm, Terraform, skopeo, podman); \
         rustls-native-certs; uv",
    ),
    ("CURL_CA_BUNDLE", "curl, and Python's requests"),
    ("REQUESTS_CA_BUNDLE", "Python's requests"),
    ("PIP_CERT", "pip"),
    ("CONDA_SSL_VERIFY", "conda"),
    ("HTTPLIB2_CA_CERTS", "Python's httplib2"),
    ("AWS_CA_BUNDLE", "the AWS clients"),
    ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "the Google Cloud client"),
    ("npm_config_cafile", "npm, pnpm and Yarn 1"),
    ("YARN_HTTPS_CA_FILE_PATH", "Yarn 2 and later"),
    ("CARGO_HTTP_CAINFO", "cargo"),
    ("GIT_SSL_CAINFO", "git"),
    ("BUNDLE_SSL_CA_CERT", "Bundler"),
    ("COMPOSER_CAFILE", "Composer"),
    ("HEX_CACERTS_PATH", "Hex and Mix"),
    ("NIX_SSL_CERT_FILE", "Nix"),
    ("SYSTEM_CERTIFICATE_PATH", "Haskell's tls: stack, cabal"),
    ("PERL_LWP_SSL_CA_FILE", "Perl's LWP"),
    ("JULIA_SSL_CA_ROOTS_PATH", "Julia"),
    ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "gRPC"),
];

/// Variables that add to a client's roots.
const ADD: &[(&str, &str)] = &[("NODE_EXTRA_CA_CERTS", "Node.js, Bun and Deno"), ("DENO_CERT", "Deno")];

/// Calls home that a build can do without. They would only be refused, or be answered otherwise on another day.
const QUIET: &[(&str, &str, &str)] = &[
    ("CHECKPOINT_DISABLE", "1", "Terraform and other programs of its house ask for newer versions"),
    ("DOTNET_CLI_TELEMETRY_OPTOUT", "1", ".NET reports its use"),
    ("YARN_ENABLE_TELEMETRY", "0", "Yarn 2 and later report their use"),
    ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0", "Corepack asks a person before it downloads"),
];

/// The name under which Java lists the certificate.
const JAVA_NAME: &str = "cofferdam recorder";

/// The variables by which clients find the authority. `pem_path_inside` is a file with
/// [`Authority::pem`], `bundle_path_inside` one with [`Gateway::bundle`], as the sandbox sees them.
#[must_use]
pub fn client_trust(pem_path_inside: &str, bundle_path_inside: &str) -> Vec<(String, String)> {
    let of = |list: &[(&str, &str)], path: &str| -> Vec<(String, String)> {
        list.iter().map(|(name, _)| ((*name).to_owned(), path.to_owned())).collect()
    };
    let mut all = of(REPLACE, bundle_path_inside);
    all.extend(of(ADD, pem_path_inside));
    all.extend(QUIET.iter().map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned())));
    all
}

/// The variable by which Java finds it: `store_path_inside` is a file with [`Gateway::java_trust_store`],
/// `already` the variable's value so far. Java then believes nobody else, and whoever dials out of the
/// sandbox meets nobody else.
#[must_use]
pub fn java_trust(store_path_inside: &str, already: Option<&str>) -> (String, String) {
    let own = format!("-Djavax.net.ssl.trustStore={store_path_inside} -Djavax.net.ssl.trustStoreType=PKCS12");
    let already = already.map(str::trim).filter(|text| !text.is_empty());
    let value = already.map_or_else(|| own.clone(), |text| format!("{text} {own}"));
    ("JAVA_TOOL_OPTIONS".to_owned(), value)
}

/// What apt needs where it may not write below `/var`: lists and packages in `home`. What is installed it still
/// reads from the system, and its sources from `/etc/apt`. The text of a file that `APT_CONFIG` names.
///
/// `kept` are answers of another day: their "valid until" is over before they are used, so only signatures
/// count. Who approved them said that they are new enough.
#[must_use]
pub fn apt_settings(home: &str, kept: bool) -> String {
    let kept = if kept { "Acquire::Check-Valid-Until \"false\";\n" } else { "" };
    format!(
        "Dir::State \"{home}/apt\";\nDir::State::status \"/var/lib/dpkg/status\";\nDir::Cache \"{home}/apt\";\n{kept}"
    )
}

impl Authority {
    /// The system's roots, as PEM, and this authority after them.
    #[must_use]
    pub fn bundle(&self, system: Option<&[u8]>) -> Vec<u8> {
        let mut out = system.unwrap_or_default().to_vec();
        if !out.is_empty() && !out.ends_with(b"\n") {
            out.push(b'\n');
        }
        out.extend_from_slice(self.pem().as_bytes());
        out
    }

    /// A PKCS#12 trust store with this authority and nobody else, without a password.
    ///
    /// # Errors
    /// None at present; a store of another form might have some.
    pub fn java_trust_store(&self) -> Result<Vec<u8>> {
        Ok(pkcs12::trust_store(self.der(), JAVA_NAME))
    }
}

impl Gateway {
    /// As [`Authority::bundle`].
    #[must_use]
    pub fn bundle(&self, system: Option<&[u8]>) -> Vec<u8> {
        self.authority().bundle(system)
    }

    /// As [`Authority::java_trust_store`].
    ///
    /// # Errors
    /// As there.
    pub fn java_trust_store(&self) -> Result<Vec<u8>> {
        self.authority().java_trust_store()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_replace_get_the_bundle_and_those_that_add_the_certificate() {
        let all = client_trust("/trust/recorder.pem", "/trust/bundle.pem");
        let of = |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(of("SSL_CERT_FILE"), Some("/trust/bundle.pem"));
        assert_eq!(of("NODE_EXTRA_CA_CERTS"), Some("/trust/recorder.pem"));
        let mut names: Vec<_> = all.iter().map(|(n, _)| n).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len(), "each variable has one value");
        let (name, value) = java_trust("/trust/java.p12", Some("-Xmx1g"));
        assert!(
            name == "JAVA_TOOL_OPTIONS" && value.starts_with("-Xmx1g -Djavax.net.ssl.trustStore=/trust/")
        );
    }

    #[test]
    fn apt_writes_into_the_home_and_minds_dates_only_where_upstream_answers() {
        let (live, kept) = (apt_settings("/home", false), apt_settings("/home", true));
        assert!(
            live.contains("Dir::State \"/home/apt\"") && live.contains("Dir::Cache \"/home/apt\""),
            "{live}"
        );
        assert!(!live.contains("Valid-Until") && kept.contains("Check-Valid-Until \"false\""), "{kept}");
    }
}
