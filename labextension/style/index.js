import './panel.css';
import './display.css';
import './lab.css';
import './timeline.css';
import './session.css';
