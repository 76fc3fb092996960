//! Who may log in, by SCRAM-SHA-256, so that a password never crosses the wire.

use async_trait::async_trait;
use pgwire::{
    api::auth::{
        AuthSource, LoginInfo, Password,
        sasl::scram::{SCRAM_ITERATIONS, gen_salted_password},
    },
    error::PgWireResult,
};

use crate::config::{RawPg, Secret};

/// The users and their salted passwords; the clear ones are not kept.
#[derive(Debug)]
pub(super) struct Users {
    salt: Vec<u8>,
    users: Vec<User>,
    /// What an unknown user is compared with: the exchange looks the same, and never succeeds.
    nobody: Vec<u8>,
}

#[derive(Debug)]
struct User {
    name: String,
    salted: Vec<u8>,
    read_only: bool,
}

impl Users {
    /// Salts each password once; a login then costs one HMAC and not 4,096.
    pub(super) fn new(settings: &RawPg) -> Users {
        let salt: [u8; 16] = rand::random();
        let nobody: [u8; 32] = rand::random();
        let user = |name: &str, password: &Secret, read_only| User {
            name: name.to_owned(),
            salted: gen_salted_password(&password.0, &salt, SCRAM_ITERATIONS),
            read_only,
        };
        let mut users = vec![user(&settings.user, &settings.password, false)];
        if settings.readonly_user_enabled {
            users.push(user(&settings.readonly_user, &settings.readonly_password, true));
        }
        Users { salt: salt.to_vec(), users, nobody: nobody.to_vec() }
    }

    fn find(&self, name: Option<&str>) -> Option<&User> {
        self.users.iter().find(|user| Some(user.name.as_str()) == name)
    }

    /// False for the user who may change things.
    pub(super) fn is_read_only(&self, name: Option<&str>) -> bool {
        self.find(name).is_none_or(|user| user.read_only)
    }
}

#[async_trait]
impl AuthSource for Users {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let salted = self.find(login.user()).map_or(&self.nobody, |user| &user.salted);
        Ok(Password::new(Some(self.salt.clone()), salted.clone()))
    }
}
