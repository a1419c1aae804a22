//! Benchmarks of the mqttstack crates; see the targets beside this folder.
