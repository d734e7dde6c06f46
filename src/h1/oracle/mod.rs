//! What the engine's reading of requests is held against, by property tests and fuzz targets: a second parser, requests
//! made up from the grammar, and a connection played from pieces.

#[cfg(test)]
mod properties;
pub(crate) mod reference;
pub(crate) mod replay;
#[cfg(test)]
mod samples;
