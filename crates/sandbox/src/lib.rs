//! Rootless isolation: namespaces, private file systems and the sealed network.
