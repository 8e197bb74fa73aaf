"""`cartstream run identity`."""

from __future__ import annotations

from cartstream.events.records import Identifier
from cartstream.identity.input import input_format
from cartstream.identity.redis_directory import RedisDirectory
from cartstream.identity.rules import load_rules
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.stage import IdentityStage
from cartstream.runtime.service import DAY_S, Means, run_stage
from cartstream.runtime.settings import load
from cartstream.runtime.vault import AddressHash, Vault


def run() -> int:
    settings = load(IdentitySettings)
    vault = Vault(settings.vault_keys.get_secret_value())
    hash_address = AddressHash(settings.hash_key.get_secret_value())
    rules = load_rules(settings.identity_rules or None)
    translate = input_format(settings)
    ttl_s = settings.directory_ttl_days * DAY_S

    def conceal(identifier: Identifier) -> str:
        return hash_address(identifier.type, identifier.value)

    def build(means: Means) -> IdentityStage:
        directory = RedisDirectory(means.redis, settings.prefix, vault.seal, ttl_s, rules=rules, conceal=conceal, lives=means.lives)
        return IdentityStage(settings, directory, means.clock, translate)

    return run_stage("identity", settings, build, settings.idle_grace_ms)
