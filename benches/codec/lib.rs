//! Holds the benchmark of the codec; see `main.rs`.
