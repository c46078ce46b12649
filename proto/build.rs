//! Turns the `.proto` files into Rust, with a compiler in Rust: nobody needs `protoc`.

use std::path::PathBuf;

const FILES: [&str; 11] = [
    "pannier/v1/common.proto",
    "pannier/v1/carts.proto",
    "pannier/v1/sets.proto",
    "pannier/v1/counters.proto",
    "pannier/v1/stocks.proto",
    "pannier/v1/checkouts.proto",
    "pannier/v1/execute.proto",
    "pannier/v1/watch.proto",
    "pannier/v1/replication.proto",
    "pannier/v1/admin.proto",
    "pannier/v1/backup.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=pannier");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    // Reflection serves the descriptors; `encode_file_descriptor_set` keeps the comments' options.
    std::fs::write(out.join("pannier.v1.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        // Left out where a message repeats others; a failure that holds it is compared.
        .type_attribute("pannier.v1.StockAnswer", "#[derive(Eq)]")
        .build_transport(false)
        .codec_path("crate::codec::CountedCodec")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
