"""Pickles are read without running anything in them, and without the libraries that wrote them."""

import base64
import collections
import io
import pickle
import struct
import tracemalloc
import zlib
from argparse import Namespace

import numpy as np
import pytest

from spin_fairseq.unpickling import CheckpointUnpickler, ForbiddenGlobal, PlainUnpickler

# pickle.dumps({"cfg": OmegaConf.create({"model": CONFIG}), "epoch": 3}, 2), by both versions that fairseq comes with.
CONFIG = {
    "_name": "spin", "freeze": ["cnn", "1..2"], "lr": 1e-4, "fp16": True, "none": None, "missing": "???",
    "seed": "${common.seed}",
}  # fmt: skip
OMEGACONF = {
    "2.0.6": (
        "c-mc*>r>M}6vfL+AUs4x5X2{_MWqNTzO4v~TBsU)L=j_}Zo7dr>1h&X(AgRN;0%AKU;QV%yX^w;+uh9G-"
        "#Pc}Zhp24WU^LACX;b1RkXQbja3~t3@W*@=f<+|s>U*vOU)AP)4$Lm(3!P*smZRf*eN@)gRVoZB`0DAHN=h=u*O<zi-"
        "9B5+bz(OwR)(x!76sVTW9EXZM&3se(VLdZAe`MhSf(~!qOIV<L0iuqUs9ku@?r8kN!Pndz<ZIplEebS@E4}gh7F$)}Z1?p})f#w(Gc@VaRnu"
        "-zOZkM@E@doWzftV#m1g8^=wYPzpqBDh?N|ep)l1)mYGSak7|{tZq4Z-"
        "D%KQj5KZ8G<Yo6qXMUtn_5_AKE}8VY+T@UmUnR(z=Xh=Ebny*=LJ<`G1xV5miHBT{~jOUW1Re-<3n6|I&b0vA1-"
        "pK%13wyC;G*#!rOsUW0*XYdO(7a<Q1tfFhyFI1TK^A|3`ChB3EcrR$!V8@dFc+(!^D5;+l!;N`Bnxl)^g{{){RkngBTp<cLha!Ps|(*+XK!7"
        "wIdsN~OL+H%N3&U|uJ3Q{Yz1K<XyQb_2JYo@S+|1?}mMiMxC_y*s2daZhJ8&PO+KKg(qd4+I`cF*)rcfyb$73mHkyYw{BliwZEuXPWOK2=J7"
        "?NYIkNvIad9c%BBeNzjT0y)f}|A0*S7%jM?rDk(7vtew_=0|iB06<E{MqQL9)VH70wji$aeVYcR*S;>zt{P{bvG($isP^r%?U|k{K3B1?H4+"
        "0<4$aRUdH1d;)&l<VcLIq*Ku%S?21U5D5tAL$GZAjENjdDzsG)g~|nioZM(cvmuS%7I;MWC9dxst{;%`>s3Y3eBQ`8>8;4kO0O@D;Nr5NKv7"
        "P){>`$%JM$Oho%k`IngbK^L|b1~~~7h?7#1lxT~3WUL;#97&-g$^8S%IhN@"
    ),
    "2.3.0": (
        "c-mc*>r>M}6vYb#f$&gJkw<-_79SN*@ohy=RG?}^jS9vz-F5?c^fW0m=<JMsa0dQOzxq#jciUj%OlNxYxW9Au+}-"
        "@>6v*U_Y$lVjt2K1kfyZi=9r)Ek#jzt<I5lmF%EeZR&gq}X3UuX-"
        "K58;O7FiW5ve2DqEn6Yes3Ec(pEcInuV^?#y*&cGd83zl8?0(ZyLE;>oBkZXrY-op8Z@Jy9tPztW=E~({kCbAn~obfzG-UGmxcj_2<nj&_?C"
        ";oJ++2ywu_;X(M@I5wQ3;_3mh@D_|j|yL4@IbV@Sz|fxE*Rrfu1rVZ^or*CkB?hFXPHt)?5bw2tzDUpS`YxY8tzmaS2)83S~Kxy)mJ+v^FgH"
        "OoeijHYfi=r+bms?DTiB6&S7FrgfJL4~=P<TBBmz{x!C<}#sE0;lu5k88Z25AeY~KEx+EE#wRz-sdA+xjC!j947-@>G3h1<-"
        "|RoS76h(Jcg;nKzx!4WxORSG+ZE+ivpKO@&Bp)8&;lPnija+wo+<2nUYSfB%EB;aZNeM8C_C)ho(_bWk@r{bxPxq%)i0dH-"
        "?#np6i7123w^v-"
        "e9w&J11}>j^n1lt+t2MK9KDi=3BOAq^;WtTX%Ha<)i6_fVLR!9YmJn<D0mj=Q5240uQC2T=XM>VrtPV8A*SfpfBinq8M|$&^kQ6k43s8SxW*"
        ">W7ac)<ut29vYsbcFLb;-V9DHO3xzqXG|P;l>!fS9fmH=w6DY;tR|2oolUbGEHwmz=<86DPh2`SJ{O>=xMH-dTsMcrav974^1m4Hg4+2J-x-"
        "O|76Vy*SKF8F(Hq8%wh7CpA6!;R;Oo6Xy+J>ZA30hf)9n(tfgX1}2NM8d~6p#s2V_;2yr-2m-"
        "bP~WV9osQbO{Q2Z!fpEu8LPlkSYIHBv2_8Yv7W>>64+2jbbys#kE!pplfA$%NTxuuS*Bk|I`ROrdSG+xtYn*ozXgD&^8"
    ),
}


def read(content, unpickler=CheckpointUnpickler):
    return unpickler(io.BytesIO(content)).load()


@pytest.mark.parametrize("version", OMEGACONF)
def test_a_configuration_of_omegaconf_is_a_dictionary(version, monkeypatch):
    """Reading a checkpoint would need omegaconf, which comes with fairseq alone."""
    monkeypatch.setitem(__import__("sys").modules, "omegaconf", None)
    state = read(zlib.decompress(base64.b85decode(OMEGACONF[version])))
    assert dict(state["cfg"]) == {"model": CONFIG}
    assert type(state["cfg"]["model"]) is dict and type(state["cfg"]["model"]["freeze"]) is list
    assert state["epoch"] == 3


@pytest.mark.parametrize("protocol", range(6))
def test_plain_content_comes_back(protocol):
    """A protocol spells what is built in, or numpy's arrays, by names that are not on the list."""
    content = {
        "numbers": [1, 2.5, 1 + 2j, 10**30, True, None], "text": "é", "bytes": b"\x00\xff", "array": bytearray(b"ab"),
        "sets": [{1}, frozenset({2})], "ordered": collections.OrderedDict(a=1), "scalar": np.float32(2.5),
        "default": collections.defaultdict(list, a=[1]),
    }  # fmt: skip
    assert read(pickle.dumps(content, protocol), PlainUnpickler) == content
    array = read(pickle.dumps(np.arange(6.0).reshape(2, 3), protocol), PlainUnpickler)
    assert np.array_equal(array, np.arange(6.0).reshape(2, 3))


def test_a_namespace_is_for_checkpoints_alone():
    content = pickle.dumps(Namespace(lr=1.0))
    assert read(content) == Namespace(lr=1.0)
    with pytest.raises(ForbiddenGlobal, match="argparse.Namespace"):
        read(content, PlainUnpickler)


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("unpickler", [PlainUnpickler, CheckpointUnpickler])
@pytest.mark.parametrize(
    "call",
    [
        Call(eval, "1"),
        Call(print, "run"),
        Call(__import__, "os"),
        Call(getattr, {}, "keys"),
        Call(np.load, "x"),
        Call(bytes, 10**12),
    ],
    ids=lambda call: call.call[0].__name__,
)
def test_what_is_not_listed_is_refused(unpickler, call):
    """A file that is only to be read would run a program, or take all memory."""
    with pytest.raises(ForbiddenGlobal):
        read(pickle.dumps(call), unpickler)


def test_no_module_is_imported_for_a_framework():
    """Reading a checkpoint of fairseq or Lightning would import them, where they are installed."""
    content = b"cfairseq.meters\nAverageMeter\n)\x81}\x8c\x03valK\x01sb."
    assert read(content) == {}


def test_a_framework_of_a_similar_name_is_refused():
    with pytest.raises(ForbiddenGlobal, match="fairseq_evil"):
        read(b"cfairseq_evil\nrun\n.")


def test_forged_arrays_do_not_crash():
    """numpy's own functions take a forged type or size as it is: the process ended in a segmentation fault."""
    content = bytearray(pickle.dumps({"a": np.eye(3), "b": np.float64(2.0), "c": np.arange(4, dtype=">i4")}, 2))
    random = np.random.default_rng(0)
    for _ in range(20_000):
        forged = bytearray(content)
        start, size = random.integers(len(forged)), random.integers(1, 9)
        forged[start : start + size] = random.integers(0, 256, size, dtype=np.uint8).tobytes()
        try:
            read(bytes(forged), PlainUnpickler)
        except Exception:  # noqa: BLE001  any error is one; a crash is none
            pass


@pytest.mark.parametrize("code", ["O8", "V16", "S100000000", "M8"])
def test_arrays_of_other_things_than_numbers_are_refused(code):
    """A pointer in an array of objects would be followed."""
    with pytest.raises(ForbiddenGlobal, match="numpy"):
        read(pickle.dumps(np.zeros(2, code), 2), PlainUnpickler)


def test_a_pickle_takes_no_memory_for_what_it_only_announces():
    """Python makes a bytearray of the size that a pickle says, and then looks for its content."""
    tracemalloc.start()
    with pytest.raises(Exception):  # noqa: B017  the end of the file comes first
        read(b"\x80\x05\x96" + struct.pack("<Q", 10**9) + b"ab.", PlainUnpickler)
    assert tracemalloc.get_traced_memory()[1] < 10**8
    tracemalloc.stop()


def test_classes_stay_as_they_are():
    """The state of a class, which a pickle may name, is shared by the whole program."""
    with pytest.raises(ForbiddenGlobal, match="another Namespace"):
        read(b"cargparse\nNamespace\nN}X\x01\x00\x00\x00aK\x01s\x86b.")
    assert not hasattr(Namespace, "a")
