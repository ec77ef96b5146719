"""fairseq's `hubert_ctc` under the name `hubert_ctc_phones`, with a key of its configuration that later versions of fairseq read and lack.

`common.user_dir=examples/dcspin/hubert_ctc_phones` registers it. Without the key, fairseq 0.12.3 stops with "Key 'autoregressive' not in
'HubertCtcConfig'". Importing spin_fairseq lets torch >= 2.6 read fairseq's checkpoints.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from fairseq.models import register_model
from fairseq.models.hubert import hubert_asr

sys.path.append(str(Path(__file__).resolve().parents[3]))  # for spin_fairseq, where it is not installed
import spin_fairseq  # noqa: E402, F401


@dataclass
class HubertCtcPhonesConfig(hubert_asr.HubertCtcConfig):
    autoregressive: bool = False


@register_model("hubert_ctc_phones", dataclass=HubertCtcPhonesConfig)
class HubertCtcPhones(hubert_asr.HubertCtc):
    """Phones are predicted frame by frame, by CTC; no decoder follows."""
