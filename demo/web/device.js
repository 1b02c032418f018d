// The visitor's own device: the engine lives in a hidden page with a policy of its own, the picture stays here.

const LIVE_WINDOW = 20; // pictures whose times give the rate
const CAMERA_PROBLEMS = {
  NotFoundError: "No camera was found on this device.",
  OverconstrainedError: "No camera was found on this device.",
  NotAllowedError: "Access to the camera was refused. Allow it in the browser's address bar, then try again.",
  NotReadableError: "The camera is in use by another program.",
};
let hidden = null; // promise of the page's own engine
let camera = null;

/** An engine for the bundle at this address, in a frame that the caller removes. */
function openEngine(address, frame = create("iframe")) {
  const attributes = { src: address, title: "Names photos in your browser", tabindex: -1, "aria-hidden": "true", class: "engine" };
  for (const [name, value] of Object.entries(attributes)) frame.setAttribute(name, value);
  return new Promise((resolve, reject) => {
    frame.addEventListener("load", () => {
      const device = frame.contentWindow.device;
      if (device) resolve(device);
      else reject(new Told("This browser can't run the network."));
    });
    document.body.append(frame);
  });
}

/** The page's own engine, loaded when it is first asked for. */
function engine() {
  const frame = create("iframe");
  hidden ??= openEngine("device/index.html", frame).catch((error) => {
    frame.remove();
    hidden = null;
    throw error;
  });
  return hidden;
}

const serverGoesOn = () => (facts?.server ? " The server's answers do not depend on this." : "");

/** A failure of the device as a sentence. */
function deviceProblem(error) {
  if (error instanceof Told) return error.message;
  const cause = String(error?.message ?? error).replace(/\.$/, "");
  if (error?.photo) return `This browser can't read the photo: ${cause}.`;
  if (!navigator.onLine || error?.network) {
    return `You are offline, or the files for this device can't be reached (${cause}).${serverGoesOn()}`;
  }
  return `This device can't run it: ${cause}.${serverGoesOn()}`;
}

async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Told("This browser gives the page no camera: that needs https, or the machine that serves the page.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    throw new Told(CAMERA_PROBLEMS[error.name] ?? `The camera can't be used: ${error.message}.`);
  }
}

/** Live mode: every picture of the camera gets an answer, until it is stopped. */
async function startLive() {
  newTurn();
  wantedExample = null; // one that is still on its way must not end the camera
  const mine = turn;
  byId("live").disabled = true;
  say("Asking for the camera ...");
  try {
    const stream = await openCamera();
    if (mine !== turn) return stopStream(stream);
    camera = stream;
    const video = byId("video");
    video.srcObject = camera;
    await video.play();
    if (!camera || mine !== turn) return; // a photo came meanwhile, and the camera was stopped
    frameFor(video.videoWidth, video.videoHeight);
    showOnStage("video");
    byId("live").textContent = "Stop camera";
    say("Loading the network onto this device ...");
    clearAnswer();
    clearRows();
    resetLook(true);
    await frames(video, await engine(), mine);
  } catch (error) {
    if (mine === turn) {
      stopLive();
      showProblem(deviceProblem(error));
      say("");
    }
  } finally {
    byId("live").disabled = false;
  }
}

async function frames(video, device, mine) {
  const times = [];
  await idle(); // a call that runs already would load other weights meanwhile
  if (!camera || mine !== turn) return;
  await device.load(chosenFormat());
  if (!camera || mine !== turn) return; // the status and the answer are a photo's now
  byId("live").disabled = false;
  byId("said").setAttribute("aria-live", "off"); // twenty answers a second are not to be read out
  say("");
  let last = performance.now();
  while (camera && mine === turn) {
    if (device.format !== chosenFormat()) { // other weights were chosen: they take over, the camera goes on
      say("Loading other weights ...");
      await device.load(chosenFormat());
      if (!camera || mine !== turn) return;
      say("");
      times.length = 0;
      last = performance.now();
    }
    const answer = await device.frame(video, video.videoWidth, video.videoHeight);
    if (!camera || mine !== turn) return;
    showAnswer(answer);
    await new Promise(requestAnimationFrame);
    if (!camera || mine !== turn) return; // a photo may have come meanwhile
    times.push(performance.now() - last);
    last = performance.now();
    showRate(answer, times.slice(-LIVE_WINDOW), device);
  }
}

function showRate(answer, times, device) {
  const rate = 1000 / [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
  const [name, note] = byId("overlay").children;
  name.textContent = answer.unknown ? "Probably none of these" : facts.display[answer.label];
  note.textContent = `${rate.toFixed(rate < 10 ? 1 : 0)} pictures a second. Nothing leaves your device.`;
  byId("here-note").textContent = `${device.engine}. The camera's pictures stay on your device.`;
}

const stopStream = (stream) => stream.getTracks().forEach((track) => track.stop());

function stopLive() {
  if (camera) stopStream(camera);
  camera = null;
  byId("video").srcObject = null;
  byId("live").textContent = "Live camera";
  byId("said").setAttribute("aria-live", "polite");
  byId("here-note").textContent = "";
  clearAnswer();
  showOnStage(photo ? "photo" : "nothing");
}
