"""Identities: what the results of an audit, and of each of its analyses, belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cawa_core import SCHEMA_VERSION
from cawa_core.digests import digest_of_data, digest_of_source
from cawa_core.registry import user_function
from cawa_core.tables.audit_record import RecordedIdentity
from workflows.analyses import ANALYSES
from workflows.options.audit import AuditSpec
from workflows.options.lab import ROLES, SUBJECT, ChannelOrderOptions

if TYPE_CHECKING:
    from workflows.lab import Lab

ORDER_OPTIONS = tuple(field.name for field in dataclasses.fields(ChannelOrderOptions))


@dataclasses.dataclass(frozen=True)
class AuditIdentity:
    """A spec with its names made exact: what the results of an audit belong to.

    Attributes:
        spec: the options, with ``classes`` as indices.
        digests: SHA-256 of the weights or data of each model or set, by its role in the spec.
        protocols: preprocessing and feature layer of each network that looks at images, by its role, and what the
            generator tells about its weights, which enters no hash.
        class_digests: SHA-256 of the real images of each class that is read; none without real images.
        schema_version: version of the folder's layout.
        samples_order: whether channels are ordered by sampled awareness, since some site has no closed form.
    """

    spec: AuditSpec
    digests: Mapping[str, str]
    protocols: Mapping[str, str]
    class_digests: Mapping[int, str]
    schema_version: int
    samples_order: bool = False

    @property
    def subject(self) -> dict[str, Any]:
        """The subject of a folder, as plain data."""
        options = {name: getattr(self.spec, name) for name in SUBJECT}
        return {"schema_version": self.schema_version, "digest": self.digests["generator"], **options}

    @cached_property
    def hash(self) -> str:
        """The name of the audit: SHA-256 of its subject."""
        return digest_of_data(self.subject)

    @cached_property
    def roles(self) -> dict[str, dict[str, str]]:
        """Name, digest and protocol of each network and set in use, by its role.

        The digest of real images is that of their form: their classes have digests of their own.
        """
        names = {role: str(getattr(self.spec, role) or self.spec.evaluator) for role in ROLES if role in self.digests}
        roles = {
            role: {"name": name, "digest": self.digests[role], "protocol": self.protocols.get(role, "")}
            for role, name in names.items()
        }
        if "real_images" in roles:
            roles["real_images"]["digest"] = ""
        return roles

    def roles_of(self, stage: str) -> tuple[str, ...]:
        """Return the roles that an analysis uses, of those that are filled."""
        analysis = ANALYSES[stage]
        networks = analysis.shows if "real_images" in self.roles else ()
        used = (*analysis.needs, *analysis.uses, *networks)
        return tuple(role for role in ROLES if role in used and role in self.roles)

    def options_of(self, stage: str) -> dict[str, Any]:
        """Return the options that change the results of an analysis, as plain data."""
        names = dict.fromkeys((*ANALYSES[stage].option_names, *(ORDER_OPTIONS if self.samples_order else ())))
        return {name: self.spec.as_data()[name] for name in names}

    def functions_of(self, stage: str) -> dict[str, str]:
        """Return the SHA-256 of the source of each function of the user in the options of an analysis.

        Raises:
            InputError: a function cannot be imported.
        """
        return {
            value: digest_of_source(user_function(option, value))
            for option in ANALYSES[stage].functions
            for value in getattr(self.spec, option)
            if ":" in value
        }

    def analysis_hash(self, stage: str) -> str:
        """Return the SHA-256 of all that changes the results of an analysis, whatever else is in the folder."""
        if stage not in self._hashes:
            analysis = ANALYSES[stage]
            inputs = {
                "subject": self.subject,
                "analysis": stage,
                "roles": {role: self.roles[role] for role in self.roles_of(stage)},
                "options": self.options_of(stage),
                "tables": {table.name: table.layout for table in analysis.tables},
                "after": {name: self.analysis_hash(name) for name in analysis.after},
            }
            if functions := self.functions_of(stage):
                inputs["functions"] = functions
            self._hashes[stage] = digest_of_data(inputs)
        return self._hashes[stage]

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {}

    def as_data(self) -> dict[str, Any]:
        """Return plain JSON-serialisable data."""
        return dataclasses.asdict(self.as_recorded())

    def as_recorded(self) -> RecordedIdentity:
        """Return the form that ``audit.json`` keeps."""
        class_digests = {class_id: self.class_digests[class_id] for class_id in sorted(self.class_digests)}
        return RecordedIdentity(
            self.spec.as_data(), dict(self.digests), dict(self.protocols), self.schema_version, class_digests
        )


def digest_of_classes(class_digests: Mapping[int, str], class_ids: Iterable[int]) -> str:
    """Return the SHA-256 of the real images of some classes, from that of each that was read."""
    read = sorted(set(class_ids) & class_digests.keys())
    return digest_of_data({str(class_id): class_digests[class_id] for class_id in read})


def identity_of(lab: Lab, spec: AuditSpec, class_ids: Iterable[int]) -> AuditIdentity:
    """Return a spec with the digests of all that it names; paths do not enter.

    Args:
        lab: the models and real images.
        spec: the options.
        class_ids: classes whose real images are read.
    """
    spec = dataclasses.replace(spec, generator=lab.generator.name, classes=lab.class_ids)
    digests = {"generator": lab.generator.digest}
    digests |= {role: network.digest for role, network in lab.networks.items()}
    protocols = {"generator": lab.generator.description} if lab.generator.description else {}
    protocols |= {role: network.protocol for role, network in lab.networks.items()}
    if lab.labeller is not None:
        digests["segmenter"] = lab.labeller.digest
        protocols["segmenter"] = lab.labeller.protocol
    class_digests: dict[int, str] = {}
    if lab.real_image_set is not None:
        spec = dataclasses.replace(spec, real_images=lab.real_image_set.name)
        class_digests = {class_id: lab.real_image_set.class_contents(class_id) for class_id in class_ids}
        digests["real_images"] = digest_of_classes(class_digests, lab.class_ids)
    return AuditIdentity(
        spec=spec,
        digests=digests,
        protocols=protocols,
        class_digests=class_digests,
        schema_version=SCHEMA_VERSION,
        samples_order=not lab.is_affine,
    )
