//! How bad it is what a rule finds, as its author says.

/// The levels of Sigma, from the least to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing.
    Informational,
    /// Hardly ever an attack.
    Low,
    /// To be looked at; what a rule is taken for that does not say.
    #[default]
    Medium,
    /// Mostly an attack.
    High,
    /// To be looked at now.
    Critical,
}

impl Level {
    /// Every level by its name.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("informational", Self::Informational),
        ("low", Self::Low),
        ("medium", Self::Medium),
        ("high", Self::High),
        ("critical", Self::Critical),
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}
