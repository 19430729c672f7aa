//! npm: packuments, tarballs, dist-tags, publish, search.
