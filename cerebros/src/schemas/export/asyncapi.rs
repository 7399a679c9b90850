use service_kit::error::CliError;
pub(super) fn document() -> Result<String, CliError> {
    Ok(String::new())
}
