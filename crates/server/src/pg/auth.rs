//! Who may log in: one user, by SCRAM-SHA-256, so that the password never crosses the wire.

use async_trait::async_trait;
use pgwire::{
    api::auth::{
        AuthSource, LoginInfo, Password,
        sasl::scram::{SCRAM_ITERATIONS, gen_salted_password},
    },
    error::PgWireResult,
};

use crate::config::RawPg;

/// The user and the salted password; the clear one is not kept.
#[derive(Debug)]
pub(super) struct Users {
    user: String,
    salt: Vec<u8>,
    salted: Vec<u8>,
    /// What an unknown user is compared with: the exchange looks the same, and never succeeds.
    nobody: Vec<u8>,
}

impl Users {
    /// Salts the password once; each login then costs one HMAC and not 4,096.
    pub(super) fn new(settings: &RawPg) -> Users {
        let salt: [u8; 16] = rand::random();
        let nobody: [u8; 32] = rand::random();
        let salted = gen_salted_password(&settings.password.0, &salt, SCRAM_ITERATIONS);
        Users { user: settings.user.clone(), salt: salt.to_vec(), salted, nobody: nobody.to_vec() }
    }
}

#[async_trait]
impl AuthSource for Users {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let salted = if login.user() == Some(&self.user) { &self.salted } else { &self.nobody };
        Ok(Password::new(Some(self.salt.clone()), salted.clone()))
    }
}
