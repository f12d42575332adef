// Owns which steps give a refused microphone back in which browser. Pure: a user agent's text in, a name out.

const IN_APP = /FBAN|FBAV|Instagram|Line\/|MicroMessenger|Snapchat|TikTok|musical_ly|; wv\)/;

export function browserOf(userAgent, { touchPoints = 0 } = {}) {
  if (IN_APP.test(userAgent)) return "in_app";
  // An iPad says that it is a Mac, but a Mac has no touch screen.
  if (/iPhone|iPad/.test(userAgent) || (/Macintosh/.test(userAgent) && touchPoints > 1)) return "safari_iphone";
  if (/Firefox\//.test(userAgent)) return "firefox";
  if (/Edg\//.test(userAgent)) return "edge";
  if (/Chrome\//.test(userAgent)) return /Android/.test(userAgent) ? "chrome_android" : "chrome";
  return /Safari\//.test(userAgent) ? "safari_mac" : "other";
}
