//! Generic files: PUT, GET, list.
